import type { WaybillError } from "../errors.ts";
import { published, type Message, type PublishOutcome, type SettleOutcome } from "../transport.ts";

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

/** `publish`: takes one message, or answers why not. */
export function outcomesOf(
  messages: readonly Message[],
  publish: (message: Message) => WaybillError | undefined,
): readonly PublishOutcome[] {
  let outcomes: PublishOutcome[] | undefined;
  for (let index = 0; index < messages.length; index += 1) {
    const error = publish(messages[index] as Message);
    if (error !== undefined) (outcomes ??= filled<PublishOutcome>(messages.length, published))[index] = { ok: false, error };
  }
  return outcomes ?? publishedAll(messages.length);
}

/** An array of its own, for a batch in which not all went well. */
export function filled<T>(count: number, outcome: T): T[] {
  return Array.from({ length: count }, () => outcome);
}

export function refusedAll(count: number, error: WaybillError): readonly PublishOutcome[] {
  return filled(count, Object.freeze({ ok: false, error }));
}
