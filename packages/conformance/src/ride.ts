import assert from "node:assert/strict";
import { event, fixed } from "@waybill/core";
import type { Bus, Contract } from "@waybill/core";
import type { Verdict } from "./anomalies.ts";
import { openBus, watched } from "./buses.ts";
import { used } from "./cases/bus-publish.ts";
import { assertValid } from "./crash-run.ts";
import type { HistoryRecord } from "./history.ts";
import { handleMiddleware } from "./recorder.ts";
import type { Rig } from "./rig.ts";
import type { Broker } from "./target.ts";

/** One thing that is done to a broker while messages are published and handled. */
export interface Harm {
  readonly name: string;
  begin(): Promise<void> | void;
  /** How long it lasts; 0: as long as `begin` takes. */
  readonly lastsMs: number;
  end(): Promise<void> | void;
}

export interface Ride {
  readonly broker: Broker;
  readonly harms: readonly Harm[];
  /** Subscriptions beside the one that works, each of which has to go on as well. */
  readonly others?: number;
  /** First deliveries of a key keep their order. */
  readonly order?: boolean;
}

export interface Rode {
  readonly verdict: Verdict;
  /** From the end of each harm until a message that was published after it was handled. */
  readonly recoveredMs: readonly number[];
}

/** How long a target may take to work again after a fault (C01). */
export const recoverMs = 10_000;
const gapMs = 4;
const quietMs = 500;
const maxGrowthMiB = 64;

/**
 * One bus publishes all the time and another one handles, both over `broker`; every harm in turn; then a drain, and the checker.
 * Fails unless both work again within `recoverMs` of each harm's end, and unless memory stays bounded while it lasts.
 */
export async function ride(rig: Rig, { broker, harms, others = 0, order = false }: Ride): Promise<Rode> {
  const topic = rig.unique("ride");
  const group = rig.unique("g");
  const contract = event<number>(topic, { key: (number) => `k${number % 8}` });
  const watch = watched(rig, { delivery: "at-least-once", order });
  const handled = new Set<number>();
  let running = 0;
  const aside = Array.from({ length: others }, (_, at) => event<number>(`${topic}.aside.${at}`));
  const heard = aside.map(() => 0);

  const consumer = await openBus(rig, { broker, around: watch.around }, (bus) => {
    bus.subscribe(
      contract,
      { group, concurrency: 16, retry: { attempts: 20, backoff: fixed("50ms") }, middleware: [handleMiddleware(watch.recorder)] },
      async (number) => {
        running += 1;
        await new Promise((resolve) => setTimeout(resolve, 5 + rig.random() * 10));
        running -= 1;
        handled.add(number);
      },
    );
    for (const [at, each] of aside.entries())
      bus.subscribe(each, { group, middleware: [handleMiddleware(watch.recorder)] }, () => void (heard[at] = (heard[at] ?? 0) + 1));
  });
  const producer = await openBus(rig, { broker, around: watch.around, publish: { timeout: "10s" } });
  const publisher = startPublishing(producer, (bus, number) => bus.publish(contract, number, { id: `${topic}.${number}` }));
  rig.defer(() => publisher.stop());

  watch.note({ f: "fault", type: "planned", fault: "all", count: harms.length });
  const recoveredMs: number[] = [];
  for (const harm of harms) {
    const before = handled.size;
    await rig.until("messages are handled", () => handled.size > before + 50 && running > 0);
    const heap = await used();
    await rig.until("something is in hand", () => running > 0);
    watch.note({ f: "fault", type: "start", fault: harm.name });
    await harm.begin();
    if (harm.lastsMs > 0) await new Promise((resolve) => setTimeout(resolve, harm.lastsMs));
    const grownMiB = ((await used()) - heap) / 2 ** 20;
    await harm.end();
    watch.note({ f: "fault", type: "stop", fault: harm.name });
    const [since, next] = [performance.now(), publisher.next()];
    publisher.hurry();
    await rig
      .until(`${harm.name}: a message that was published after it`, () => newest(handled) >= next, 3 * recoverMs)
      .catch((error: Error) => {
        const confirmed = publisher.confirmed().filter((number) => number >= next).length;
        const states = [producer, consumer].map((bus) => `${bus.status().transport}, ${bus.status().healthy ? "healthy" : "not healthy"}`);
        throw new Error(`${error.message}; ${confirmed} were confirmed; the producer is ${states[0]}, the consumer ${states[1]}`);
      });
    recoveredMs.push(performance.now() - since);
    assert(grownMiB < maxGrowthMiB, `${harm.name}: ${grownMiB.toFixed(1)} MiB above the start`);
    await goOn(rig, producer, aside, heard, harm.name);
  }
  await rig.within("every publish is settled", publisher.stop(), 15_000);
  await rig.until("all that was confirmed", () => publisher.confirmed().every((number) => handled.has(number)), 20_000);
  await rig.until("the rest of what is kept", drained(watch.records, topic), 20_000);
  await Promise.all([consumer.close({ drain: "5s" }), producer.close({ drain: "5s" })]);
  const verdict = watch.verdict();
  assertValid(verdict);
  const slow = recoveredMs.filter((ms) => ms > recoverMs);
  assert.deepEqual(slow, [], `working again took more than ${recoverMs} ms`);
  rig.saw(verdict.counts.ok);
  return { verdict, recoveredMs };
}

/** Nothing has come for a while, and all that came was handled: also what nobody had confirmed. */
function drained(records: readonly HistoryRecord[], topic: string): () => boolean {
  const open = new Set<string>();
  let [read, since] = [0, performance.now()];
  return () => {
    for (; read < records.length; read += 1) {
      const record = records[read];
      if (record?.f !== "delivery" || record.dest !== topic) continue;
      if (record.type === "delivered") open.add(record.msg);
      else if (record.type === "handled-ok") open.delete(record.msg);
      since = performance.now();
    }
    return open.size === 0 && performance.now() - since > quietMs;
  };
}

/** Each of the subscriptions that had nothing to do hears one message. */
async function goOn(rig: Rig, producer: Bus, aside: readonly Contract<number>[], heard: readonly number[], after: string): Promise<void> {
  const before = [...heard];
  await rig.within(`${after}: publishes to the others`, Promise.all(aside.map((each) => producer.publish(each, 1))));
  await rig.until(`${after}: all ${heard.length} other subscriptions`, () => heard.every((count, at) => count > (before[at] ?? 0)));
}

function newest(handled: ReadonlySet<number>): number {
  let most = -1;
  for (const number of handled) most = Math.max(most, number);
  return most;
}

interface Publishing {
  /** The number that is published next. */
  next(): number;
  /** Publishes now, however much is on its way. */
  hurry(): void;
  confirmed(): readonly number[];
  /** Resolves when every publish is settled. */
  stop(): Promise<void>;
}

/** One after another at a steady pace, awaited by nobody, with a bound on what is on its way. */
function startPublishing(bus: Bus, publish: (bus: Bus, number: number) => Promise<unknown>): Publishing {
  const confirmed: number[] = [];
  const open = new Set<Promise<void>>();
  let next = 0;
  let room = 500;
  const one = (): void => {
    if (open.size >= room) return;
    const number = next;
    next += 1;
    const sent: Promise<void> = publish(bus, number)
      .then(() => void confirmed.push(number))
      // Its outcome is in the history.
      .catch(() => undefined)
      .finally(() => open.delete(sent));
    open.add(sent);
  };
  const timer = setInterval(one, gapMs);
  return {
    next: () => next,
    hurry() {
      room = open.size + 500;
      one();
    },
    confirmed: () => confirmed,
    async stop() {
      clearInterval(timer);
      await Promise.all(open);
    },
  };
}
