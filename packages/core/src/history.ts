import { noteHeader, readNote, type Item } from "./item.ts";
import type { Capabilities, Delivery } from "./transport.ts";

/** What is to be done with a delivery that was delivered before. */
export type Standing = "ordinary" | "suspect" | "poison";

/** Nothing speaks for an earlier attempt. */
export function isFirst({ attempt, note, takenOver, message }: Delivery): boolean {
  return (attempt === 1 || attempt === undefined) && note === undefined && !takenOver && !(noteHeader in message.headers);
}

/**
 * Fills in what is known of earlier attempts, and judges. A count that only the transport made never condemns a message: above
 * `attempts` it is a suspect, to be handled alone; poison is what ended its process even then.
 */
export function judge(item: Item, can: Capabilities, attempts: number): Standing {
  const { delivery } = item;
  const note = readNote(can.note.level === "none" ? delivery.message.headers[noteHeader] : delivery.note);
  if (note !== undefined) {
    item.failures = note.failures;
    item.firstFailureAt = note.firstFailureAt;
    item.alone = note.alone;
  }
  item.crashes = delivery.attempt === undefined ? item.alone : Math.max(0, delivery.attempt - 1 - item.failures);
  item.attempt = item.failures + item.crashes + 1;
  const canNote = can.note.level !== "none" || can.publishToGroup.level !== "none";
  if (isPoison(item, attempts, canNote)) return "poison";
  return isSuspect(item, attempts) ? "suspect" : "ordinary";
}

/**
 * Where the transport counts, one crash while alone is enough; where it does not, the notes are the count. Where nothing can be
 * noted, the count alone has to tell that it was alone already.
 */
function isPoison({ delivery, alone, crashes }: Item, attempts: number, canNote: boolean): boolean {
  if (delivery.attempt === undefined) return delivery.takenOver && alone >= attempts;
  if (!canNote) return crashes > 0 && delivery.attempt > attempts + 1;
  return alone > 0 && delivery.attempt > alone;
}

function isSuspect({ delivery, alone, crashes }: Item, attempts: number): boolean {
  if (delivery.attempt === undefined) return delivery.takenOver;
  return alone > 0 || (crashes > 0 && delivery.attempt > attempts);
}
