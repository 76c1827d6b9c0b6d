import type { Timer } from "./clock.ts";
import { createDeque, type Deque } from "./deque.ts";
import type { WaybillError } from "./errors.ts";
import type { Message } from "./transport.ts";

/** A message on its way, and its caller. */
export interface Entry {
  readonly message: Message;
  readonly bytes: number;
  readonly resolve: (message: Message) => void;
  readonly reject: (error: WaybillError) => void;
  readonly expiresAt: number;
  readonly order: number;
  /** Written at least once with no definite answer. */
  maybeSent: boolean;
  lastError: WaybillError | undefined;
  settled: boolean;
  inRoom: boolean;
  inFlight: boolean;
  unlisten: (() => void) | undefined;
}

/** Written in call order, and waits for no other lane. */
export interface Lane {
  readonly waiting: Deque<Entry>;
  readonly batches: Set<Batch>;
  failed: Entry[];
  scheduled: boolean;
  failures: number;
  backoff: Timer | undefined;
  /** Serves the batches of one sweep's time: making one for every batch would cost more than the batch. */
  abort: AbortController;
  readonly flush: () => void;
}

/** One call of the transport's `publish`. */
export interface Batch {
  readonly entries: readonly Entry[];
  readonly abort: AbortController;
  abortedAt: number;
}

export function createLane(flush: (lane: Lane) => void): Lane {
  const lane: Lane = {
    waiting: createDeque(),
    batches: new Set(),
    failed: [],
    scheduled: false,
    failures: 0,
    backoff: undefined,
    abort: new AbortController(),
    flush: () => flush(lane),
  };
  return lane;
}

/** The next in the order of the calls, as many as may go together. */
export function takeBatch(lane: Lane, maxMessages: number, maxBytes: number): Entry[] {
  const entries: Entry[] = [];
  let bytes = 0;
  while (entries.length < maxMessages) {
    const next = lane.waiting.peek();
    if (next === undefined || (entries.length > 0 && bytes + next.bytes > maxBytes)) break;
    lane.waiting.shift();
    if (next.settled) continue;
    bytes += next.bytes;
    next.inFlight = true;
    entries.push(next);
  }
  return entries;
}

/** What failed goes first, in the order of the calls. */
export function putBack(lane: Lane): void {
  lane.failed.sort((a, b) => a.order - b.order);
  lane.waiting.pushFront(lane.failed.filter((entry) => !entry.settled));
  lane.failed = [];
}

/** Ends it; answers all that it held. */
export function emptyLane(lane: Lane): Entry[] {
  lane.backoff?.cancel();
  const left = [...lane.waiting.clear(), ...lane.failed];
  for (const batch of lane.batches) left.push(...batch.entries);
  lane.failed = [];
  lane.batches.clear();
  return left;
}
