import type { Batch } from "../sql/append.ts";
import { kinds, type Settled } from "../sql/settle.ts";
import { settleStride, type ToWorker } from "./protocol.ts";

export type PublishMessage = Extract<ToWorker, { t: "publish" }>;
export type SettleMessage = Extract<ToWorker, { t: "settle" }>;
export type CallMessage = Extract<ToWorker, { t: "call" }>;

export function toBatch(message: PublishMessage): Batch {
  return {
    targets: message.targets,
    data: Buffer.from(message.data),
    index: new Int32Array(message.index),
    timed: new Map(message.timed.map(([at, due, expires]) => [at, { due, expires }])),
    newestTime: message.newestTime,
  };
}

export function toSettled(message: SettleMessage): Settled[] {
  const numbers = new Float64Array(message.numbers);
  const notes = new Map(message.notes);
  const deadLetters = new Map(message.deadLetters.map(([at, topic, headers]) => [at, { topic, headers }]));
  const settled: Settled[] = [];
  for (let i = 0, at = 0; at < numbers.length; i++, at += settleStride) {
    settled.push({
      kind: kinds[numbers[at]!]!,
      group: numbers[at + 1]!,
      lease: numbers[at + 2]!,
      index: numbers[at + 3]!,
      seq: numbers[at + 4]!,
      attempt: numbers[at + 5]!,
      ms: numbers[at + 6]!,
      note: notes.size === 0 ? undefined : notes.get(i),
      deadLetter: deadLetters.size === 0 ? undefined : deadLetters.get(i),
    });
  }
  return settled;
}
