import type { ConsumeMessage } from "amqplib";
import { returnsOf, wireHeaders } from "./properties.ts";

/**
 * Whether it may be what ends processes: it came back more than once, or it carries the note of one that is to be handled alone.
 * A broker counts a crash against all that the process had in hand: such a message is taken alone, so that no neighbour is
 * counted. Coming back once is nothing special: so does all that one lost connection had in hand.
 */
export function isDelicate(raw: ConsumeMessage): boolean {
  return returnsOf(raw) > 1 || isMarked(raw);
}

/** Giving it back by a `nack` would be counted, and read as a crash. */
export function isMarked({ properties }: ConsumeMessage): boolean {
  const headers: Readonly<Record<string, unknown>> = properties.headers ?? {};
  if (headers[wireHeaders.careful] !== undefined) return true;
  // A copy of our own for a retry has a count as well, and is nothing special.
  return headers["waybill-note"] !== undefined && headers[wireHeaders.attempts] === undefined;
}
