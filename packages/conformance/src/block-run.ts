import assert from "node:assert/strict";
import { startActor } from "./actors.ts";
import type { Actor } from "./actors.ts";
import type { Verdict } from "./anomalies.ts";
import { checkHistory } from "./checker.ts";
import { follow } from "./crash-run.ts";
import { historyVersion } from "./history.ts";
import type { UnsequencedRecord } from "./history.ts";
import { collector, inOrder } from "./recorder.ts";
import type { Rig } from "./rig.ts";
import { blocked } from "./script.ts";
import type { Broker } from "./target.ts";

export interface BlockRun {
  readonly attempts: number;
  readonly leaseMs: number;
  readonly count: number;
  /** The number of the message that blocks whoever handles it. */
  readonly at: number;
}

export interface Blocked {
  readonly verdict: Verdict;
  readonly topic: string;
  readonly group: string;
  readonly broker: Broker;
  /** How many processes were blocked. */
  readonly blocked: number;
  /** The id of the message that blocks, and those of all others. */
  readonly blocking: string;
  readonly neighbours: ReadonlySet<string>;
  readonly handled: ReadonlySet<string>;
  /** What blocked processes had been handed and not handled, the blocking one left out. */
  readonly prefetched: number;
  /** As which attempt each process was handed the message that blocks; the first process is 0. */
  readonly handedOver: readonly { readonly process: number; readonly attempt: number | undefined }[];
}

/**
 * One consumer process after another, each started when the one before it is blocked. A blocked one is killed only when the
 * next has come as far as that message, or to the end: to take over they have nothing but the leases that run out.
 */
export async function blockRun(rig: Rig, { attempts, leaseMs, count, at }: BlockRun): Promise<Blocked> {
  const broker = await rig.freshBroker();
  const topic = rig.unique("block");
  const group = rig.unique("g");
  const history = collector();
  const index = follow(topic, group);
  const stuck = new Set<number>();
  const write = (record: UnsequencedRecord): void => {
    history.write(record);
    index.see(record);
    if (record.f === "fault" && record.fault === blocked && record.type === "start") stuck.add(record.inc);
  };
  const common = { run: topic, seed: rig.seed, topic };
  const consumer = (inc: number): Actor =>
    startActor(
      rig,
      broker,
      { ...common, role: "consumer", proc: "consumer", inc, group, concurrency: 2, leaseMs, attempts, handleMs: 5 },
      write,
    );

  let current = consumer(0);
  await rig.within("the first consumer", current.ready, 20_000);
  const producer = startActor(rig, broker, { ...common, role: "producer", proc: "producer", inc: 0, count, keys: 5, blocks: at }, write);
  await rig.within("the producer", producer.done, 20_000);
  let before: Actor | undefined;
  for (;;) {
    const { inc } = current.script;
    await rig.until(`process ${inc} at the message that blocks, or at the end`, () => stuck.has(inc) || index.drained(), 20_000);
    before?.kill();
    await before?.exited;
    if (!stuck.has(inc)) break;
    // A message that is never given up would go on for ever.
    assert(stuck.size <= attempts + 3, `${stuck.size} processes are blocked`);
    before = current;
    current = consumer(inc + 1);
  }
  await Promise.all([current, producer].map((actor) => rig.within("the end of an actor", actor.stop(), 15_000)));
  write({
    ...common,
    v: historyVersion,
    proc: "harness",
    inc: 0,
    tMono: Number(process.hrtime.bigint()),
    f: "fault",
    type: "stop",
    fault: blocked,
  });
  write({
    ...common,
    v: historyVersion,
    proc: "harness",
    inc: 0,
    tMono: Number(process.hrtime.bigint()),
    f: "drain",
    type: "end",
    reason: "complete",
  });
  const records = inOrder(history.records);
  const verdict = checkHistory(records);
  rig.saw(verdict.counts.ok);

  const blocking = `producer.0.${at}`;
  const handed = new Set<string>();
  const did = new Set<string>();
  for (const record of records) {
    if (record.f !== "delivery" || record.dest !== topic || record.msg === blocking || !stuck.has(record.inc)) continue;
    if (record.type === "delivered") handed.add(`${record.inc} ${record.msg}`);
    if (record.type === "handled-ok") did.add(`${record.inc} ${record.msg}`);
  }
  const handedOver = records.flatMap((record) =>
    record.f === "delivery" && record.type === "delivered" && record.msg === blocking && record.dest === topic
      ? [{ process: record.inc, attempt: record.attempt }]
      : [],
  );
  const neighbours = new Set(Array.from({ length: count }, (_, number) => `producer.0.${number}`));
  neighbours.delete(blocking);
  return {
    verdict,
    topic,
    group,
    broker,
    blocking,
    neighbours,
    blocked: stuck.size,
    handled: index.handled,
    handedOver,
    prefetched: [...handed].filter((one) => !did.has(one)).length,
  };
}
