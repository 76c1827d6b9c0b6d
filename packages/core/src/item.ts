import type { Attempt } from "./attempt.ts";
import type { Delivery } from "./transport.ts";

/** A delivery while it is in hand, and what is known of its earlier attempts. */
export interface Item {
  readonly delivery: Delivery;
  readonly key: string | undefined;
  /** Handler failures so far, over all deliveries. */
  failures: number;
  firstFailureAt: number;
  /** Deliveries that ended without a word: a crash, a lost lease. */
  crashes: number;
  /**
   * When it was last started alone, the attempt written down first: the number of that delivery where the transport counts
   * them, else how often. 0: never, or that attempt ended in the ordinary way.
   */
  alone: number;
  /** The number of this attempt. */
  attempt: number;
  running: Attempt | undefined;
  /** It is the one of its key that may run. */
  holdsLane: boolean;
  /** Not ours any more, or settled: whoever meets it lets it lie. */
  gone: boolean;
}

export function createItem(delivery: Delivery): Item {
  return {
    delivery,
    key: delivery.message.key,
    failures: 0,
    firstFailureAt: 0,
    crashes: 0,
    alone: 0,
    attempt: 1,
    running: undefined,
    holdsLane: false,
    gone: false,
  };
}

/** What the transport keeps for us between two deliveries (`Delivery.note`). */
export interface Note {
  readonly failures: number;
  readonly firstFailureAt: number;
  readonly alone: number;
}

export const noteHeader = "waybill-note";

export function writeNote(note: Note): string {
  return `1 ${note.failures} ${note.firstFailureAt} ${note.alone}`;
}

/** Undefined for anything that is not ours: a note may come from outside. */
export function readNote(text: string | undefined): Note | undefined {
  const parts = text === undefined ? null : /^1 (\d{1,9}) (\d{1,15}) (\d{1,9})$/.exec(text);
  if (parts === null) return undefined;
  return { failures: Number(parts[1]), firstFailureAt: Number(parts[2]), alone: Number(parts[3]) };
}
