import type { Headers, Settlement } from "@waybill/core";
import type { Batch, OwnDelivery } from "./batch.ts";
import { kinds, type Kind, type Settled } from "./sql/settle.ts";
import { deliverStride, settleStride } from "./worker/protocol.ts";

/** Settlements as the worker takes them. */
export interface PackedSettlements {
  readonly numbers: Float64Array;
  readonly notes: (readonly [number, string])[];
  readonly deadLetters: (readonly [number, string, Headers])[];
}

const numberOf = Object.fromEntries(kinds.map((kind, i) => [kind, i])) as Record<Kind, number>;
/** Of a note, in characters; longer ones are cut. */
const maxNote = 1024;

export function packSettlements(settlements: readonly Settlement[], extendMs: number): PackedSettlements {
  const numbers = new Float64Array(settlements.length * settleStride);
  const notes: (readonly [number, string])[] = [];
  const deadLetters: (readonly [number, string, Headers])[] = [];
  for (let i = 0; i < settlements.length; i++) {
    const one = settlements[i]!;
    const { handle: batch, at } = one.delivery as OwnDelivery;
    const ms = one.kind === "retry" ? Math.max(0, one.delayMs) : one.kind === "extend" ? extendMs : 0;
    fill(numbers, i * settleStride, one.kind, batch, at, ms);
    if ("note" in one && one.note !== undefined) notes.push([i, one.note.slice(0, maxNote)]);
    // A null prototype does not cross threads.
    if (one.kind === "dead-letter") deadLetters.push([i, one.topic, { ...one.headers }]);
  }
  return { numbers, notes, deadLetters };
}

/** Of messages whose lease ran out on this side. */
export function packExpired(expired: readonly { readonly batch: Batch; readonly at: number }[]): PackedSettlements {
  const numbers = new Float64Array(expired.length * settleStride);
  expired.forEach(({ batch, at }, i) => fill(numbers, i * settleStride, "expire", batch, at, 0));
  return { numbers, notes: [], deadLetters: [] };
}

function fill(numbers: Float64Array, base: number, kind: Kind, batch: Batch, at: number, ms: number): void {
  const from = at * deliverStride;
  numbers[base] = numberOf[kind];
  numbers[base + 1] = batch.group;
  numbers[base + 2] = batch.lease;
  numbers[base + 3] = batch.meta[from + 2]!;
  numbers[base + 4] = batch.meta[from + 1]!;
  numbers[base + 5] = batch.meta[from + 3]!;
  numbers[base + 6] = ms;
}

/** For a transaction of the user's thread. */
export function toSettled(one: Settlement, extendMs: number): Settled {
  const { handle: batch, at } = one.delivery as OwnDelivery;
  const from = at * deliverStride;
  return {
    kind: one.kind,
    group: batch.group,
    lease: batch.lease,
    index: batch.meta[from + 2]!,
    seq: batch.meta[from + 1]!,
    attempt: batch.meta[from + 3]!,
    ms: one.kind === "retry" ? Math.max(0, one.delayMs) : one.kind === "extend" ? extendMs : 0,
    note: "note" in one ? one.note?.slice(0, maxNote) : undefined,
    deadLetter: one.kind === "dead-letter" ? { topic: one.topic, headers: one.headers } : undefined,
  };
}
