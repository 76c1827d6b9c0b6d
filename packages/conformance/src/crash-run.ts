import assert from "node:assert/strict";
import type { Delivery } from "@waybill/core";
import { startActor } from "./actors.ts";
import type { Actor } from "./actors.ts";
import type { Verdict } from "./anomalies.ts";
import { checkHistory } from "./checker.ts";
import type { CrashPoint } from "./crash-points.ts";
import { historyVersion } from "./history.ts";
import type { HistoryEvent, HistoryRecord, UnsequencedRecord } from "./history.ts";
import { collector, inOrder } from "./recorder.ts";
import type { Rig } from "./rig.ts";
import type { ConsumerScript, ProducerScript } from "./script.ts";
import type { Broker } from "./target.ts";
import { subscribe } from "./taker.ts";

export interface CrashRun {
  readonly point?: CrashPoint;
  readonly victim: "producer" | "consumer";
  /** How many incarnations of the victim die. */
  readonly deaths: number;
  readonly consumer?: Partial<ConsumerScript>;
  readonly producer?: Partial<ProducerScript>;
  /** Deaths come of the messages themselves: a new incarnation is started until the drain. */
  readonly poison?: number;
}

export interface Ran {
  readonly verdict: Verdict;
  readonly records: readonly HistoryRecord[];
  readonly deaths: number;
  readonly topic: string;
  readonly group: string;
  readonly broker: Broker;
  /** Ids of what arrived on the consumers' output. */
  readonly outputs: ReadonlySet<string>;
}

/** Producers and consumers as processes of their own, one of them killed again and again; then a drain, and the checker. */
export async function crashRun(rig: Rig, run: CrashRun): Promise<Ran> {
  const broker = await rig.freshBroker();
  const topic = rig.unique("crash");
  const group = rig.unique("g");
  const history = collector();
  const index = follow(topic, group);
  const write = (record: UnsequencedRecord): void => {
    history.write(record);
    index.see(record);
  };
  const note = (event: HistoryEvent): void =>
    write({ v: historyVersion, run: topic, seed: rig.seed, proc: "harness", inc: 0, tMono: Number(process.hrtime.bigint()), ...event });
  const common = { run: topic, seed: rig.seed, topic };
  const consumer = (inc: number, crash: boolean, proc = "consumer"): Actor =>
    startActor(
      rig,
      broker,
      { ...common, role: "consumer", proc, inc, group, concurrency: 8, leaseMs: 2_000, attempts: 3, ...run.consumer, ...planned(crash) },
      write,
    );
  const producer = (inc: number, crash: boolean): Actor =>
    startActor(
      rig,
      broker,
      {
        ...common,
        role: "producer",
        proc: "producer",
        inc,
        count: run.victim === "producer" ? 150 : 60,
        keys: 5,
        ...run.producer,
        ...planned(crash),
      },
      write,
    );
  const planned = (crash: boolean): Pick<ConsumerScript, "crash"> =>
    crash && run.point !== undefined ? { crash: { point: run.point, after: 1 + Math.floor(rig.random() * reach[run.point]) } } : {};
  const dies = async (actor: Actor): Promise<void> => {
    note({ f: "fault", type: "start", fault: `kill9 ${actor.script.role}` });
    assert.equal(
      await rig.within(`${run.point ?? "poison"} of the ${actor.script.role}`, actor.exited, 45_000),
      "crashed",
      "it ended before it got there",
    );
    note({ f: "fault", type: "stop", fault: `kill9 ${actor.script.role}` });
  };

  await prepareStore(rig, broker, run);
  const outputs = await listen(rig, broker, run);
  let deaths = 0;
  const steady: Actor[] = [];
  // The group exists before anything is published, so that everything is owed to it.
  const first = consumer(0, run.victim === "consumer" && run.point !== undefined);
  await rig.within("the first consumer", first.ready, 20_000);
  if (run.victim === "producer") {
    steady.push(first);
    for (; deaths < run.deaths; deaths += 1) await dies(producer(deaths, true));
    steady.push(await published(rig, producer(deaths, false)));
  } else {
    let victim = first;
    for (; deaths < run.deaths;) {
      // Each incarnation gets enough to reach its end, however fast it is.
      steady.push(await started(rig, producer(deaths, false)));
      await dies(victim);
      deaths += 1;
      victim = consumer(deaths, deaths < run.deaths);
    }
    steady.push(await started(rig, producer(deaths, false)));
    for (; run.poison !== undefined; victim = consumer(deaths, false)) {
      const outcome = await Promise.race([
        victim.exited,
        rig.until("the drain", () => steady.every((actor) => index.isDone(actor)) && index.drained(), 25_000),
      ]);
      if (outcome !== "crashed") break;
      deaths += 1;
      assert(deaths < 50, "the process ends again and again");
    }
    for (const made of steady) await rig.within("a producer", made.done, 20_000);
    steady.push(victim);
  }
  let reason: "complete" | "timeout" = "complete";
  const arrived = (): boolean => run.consumer?.output === undefined || [...index.handled].every((id) => outputs.has(`out.${id}`));
  await rig.until("the drain", () => index.drained() && arrived(), 20_000).catch(() => (reason = "timeout"));
  await Promise.all(steady.map((actor) => rig.within("the end of an actor", actor.stop(), 15_000)));
  await effects(rig, broker, run, note);
  note({ f: "drain", type: "end", reason });
  const records = inOrder(history.records);
  const verdict = checkHistory(records);
  rig.saw(verdict.counts.ok);
  return { verdict, records, deaths, topic, group, broker, outputs };
}

async function listen(rig: Rig, broker: Broker, run: CrashRun): Promise<ReadonlySet<string>> {
  const seen = new Set<string>();
  const topic = run.consumer?.output;
  if (topic === undefined) return seen;
  const onDelivery = (delivery: Delivery): void => void seen.add(delivery.message.id);
  await subscribe(rig, await rig.transport(broker), { topic, group: "out" }, { ack: true, onDelivery });
  return seen;
}

async function prepareStore(rig: Rig, broker: Broker, run: CrashRun): Promise<void> {
  const stored = run.consumer?.store;
  if (stored === undefined) return;
  const store = rig.target.store?.(broker.connection, { joined: stored === "joined" });
  assert(store !== undefined);
  try {
    await store.prepare();
  } finally {
    await store.close();
  }
}

/** How often each point is passed in one incarnation, at the least. */
const reach: Readonly<Record<CrashPoint, number>> = { CP1: 5, CP2: 5, CP3: 5, CP4: 1, CP5: 15, CP6: 2, CP7: 2, CP8: 15, CP9: 2, CP10: 2 };

async function started(rig: Rig, actor: Actor): Promise<Actor> {
  await rig.within("the start of an actor", actor.ready, 20_000);
  return actor;
}

async function published(rig: Rig, actor: Actor): Promise<Actor> {
  await rig.within("the end of a producer", actor.done, 30_000);
  return actor;
}

async function effects(rig: Rig, broker: Broker, run: CrashRun, note: (event: HistoryEvent) => void): Promise<void> {
  const stored = run.consumer?.store;
  if (stored === undefined) return;
  const store = rig.target.store?.(broker.connection, { joined: stored === "joined" });
  assert(store !== undefined);
  try {
    for (const { group, id } of await store.effects()) note({ f: "effect", type: "row", group, msg: id });
  } finally {
    await store.close();
  }
}

export interface Following {
  see(record: UnsequencedRecord): void;
  readonly handled: ReadonlySet<string>;
  drained(): boolean;
  isDone(actor: Actor): boolean;
}

/** What is still to be handled, as the records come in. */
export function follow(topic: string, group: string): Following {
  const owed = new Set<string>();
  const handled = new Set<string>();
  const ended = new Set<string>();
  const doneActors = new WeakSet<Actor>();
  const watched = new WeakSet<Actor>();
  return {
    see(record) {
      if (record.f === "send" && record.type === "ok") {
        if (record.dest === topic && !ended.has(record.msg)) owed.add(record.msg);
        if (record.from === group) settle(record.msg);
      }
      if (record.f === "delivery" && record.type === "handled-ok" && record.dest === topic) handled.add(record.msg);
      if (record.f === "delivery" && record.group === group && (record.type === "handled-ok" || record.type === "dead-lettered"))
        settle(record.msg);
    },
    handled,
    drained: () => owed.size === 0,
    isDone(actor) {
      if (!watched.has(actor)) {
        watched.add(actor);
        void actor.done.then(() => doneActors.add(actor));
      }
      return doneActors.has(actor);
    },
  };
  function settle(msg: string): void {
    ended.add(msg);
    owed.delete(msg);
  }
}

/** Fails unless the history is a good one, naming what was found. */
export function assertValid(verdict: Verdict): void {
  const found = Object.entries(verdict.anomalies).map(
    ([name, anomaly]) => `${name} ×${anomaly.count}: ${anomaly.examples.slice(0, 2).join("; ")}`,
  );
  assert.equal(verdict.verdict, "valid", [...found, ...verdict.unknown].join(" · "));
}
