import type { WaybillError } from "../errors.ts";
import { published, type PublishOutcome, type SettleOutcome } from "../transport.ts";

// One frozen array serves every batch of its length in which nothing went wrong.
const allPublished: (readonly PublishOutcome[])[] = [];
const allDone: (readonly SettleOutcome[])[] = [];
const kept = 4096;

export function publishedAll(count: number): readonly PublishOutcome[] {
  if (count >= kept) return filled<PublishOutcome>(count, published);
  return (allPublished[count] ??= Object.freeze(filled<PublishOutcome>(count, published)));
}

export function doneAll(count: number): readonly SettleOutcome[] {
  if (count >= kept) return filled<SettleOutcome>(count, "done");
  return (allDone[count] ??= Object.freeze(filled<SettleOutcome>(count, "done")));
}

/** An array of its own, for a batch in which not all went well. */
export function filled<T>(count: number, outcome: T): T[] {
  return Array.from({ length: count }, () => outcome);
}

export function refusedAll(count: number, error: WaybillError): readonly PublishOutcome[] {
  return filled(count, Object.freeze({ ok: false, error }));
}
