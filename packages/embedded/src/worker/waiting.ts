import { batchStride } from "../sql/append.ts";
import type { Failure } from "../sql/failure.ts";
import { isPlain, plainCalls } from "./calls.ts";
import { batchStates } from "./protocol.ts";
import type { Post } from "./serve.ts";
import type { CallMessage, PublishMessage, SettleMessage } from "./unpack.ts";

/** What the user's thread asked for and no transaction has taken up yet. */
export interface Waiting {
  publishes: PublishMessage[];
  settles: SettleMessage[];
  calls: CallMessage[];
}

/** Messages of one transaction at most; what is more waits for the next, so that others get the lock in between. */
const maxPerCycle = 4000;

/** The batches of the next transaction. `states`: what became of each while it waited. */
export function takePublishes(waiting: Waiting, states: Int32Array): PublishMessage[] {
  const now: PublishMessage[] = [];
  for (let count = 0; waiting.publishes.length > 0 && count < maxPerCycle;) {
    const next = waiting.publishes.shift()!;
    // Whose signal fired while it waited has had its answer.
    const was = Atomics.compareExchange(states, next.cell, batchStates.waiting, batchStates.started);
    if (was === batchStates.dropped) continue;
    now.push(next);
    count += next.index.byteLength / 4 / batchStride;
  }
  return now;
}

export function takeSettles(waiting: Waiting): SettleMessage[] {
  const now = waiting.settles;
  waiting.settles = [];
  return now;
}

export interface TakenCalls {
  readonly writing: readonly CallMessage[];
  readonly reading: readonly CallMessage[];
  readonly closing: CallMessage | undefined;
}

export function takeCalls(waiting: Waiting): TakenCalls {
  const writing: CallMessage[] = [];
  const reading: CallMessage[] = [];
  let closing: CallMessage | undefined;
  for (const call of waiting.calls) {
    if (isPlain(call.name) && !plainCalls[call.name].writes) reading.push(call);
    else if (call.name === "close" && closing === undefined) closing = call;
    else writing.push(call);
  }
  waiting.calls = [];
  return { writing, reading, closing };
}

/** Nothing of it happens. True if a call to close was among it, which is granted. */
export function refuseWaiting(waiting: Waiting, failure: Failure, post: Post): boolean {
  const { publishes, settles, calls } = waiting;
  waiting.publishes = [];
  waiting.settles = [];
  waiting.calls = [];
  const closing = calls.filter(({ name }) => name === "close");
  const others = calls.filter((call) => !closing.includes(call));
  refuse(publishes, { ...failure, certainty: "definite" }, post);
  refuse(settles, failure, post);
  refuse(others, failure, post);
  for (const { id } of closing) post({ t: "answer", id, value: null });
  return closing.length > 0;
}

export function refuse(requests: readonly { readonly id: number }[], failure: Failure, post: Post): void {
  for (const { id } of requests) post({ t: "failed", id, failure });
}
