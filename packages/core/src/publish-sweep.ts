import type { Batch, Entry, Lane } from "./publish-lane.ts";

/** How long an adapter may take to answer after its signal fired. */
const answerMs = 1000;

/** `now` and the times of the entries are monotonic. */
export interface Due {
  readonly now: number;
  /** Its time is over, and it is in no batch. */
  readonly late: (entry: Entry) => void;
  /** The adapter did not answer although it was told to give up. */
  readonly overdue: (lane: Lane, batch: Batch) => void;
}

/** Finds what a lane holds beyond its time. */
export function sweepLane(lane: Lane, { now, late, overdue }: Due): void {
  // In call order, so that the first that is not due ends the search.
  for (let next = lane.waiting.peek(); next !== undefined && (next.settled || next.expiresAt <= now); next = lane.waiting.peek()) {
    lane.waiting.shift();
    if (!next.settled) late(next);
  }
  for (const entry of lane.failed) if (!entry.settled && entry.expiresAt <= now) late(entry);
  for (const batch of lane.batches) {
    const first = batch.entries[0] as Entry;
    if (batch.abortedAt === 0 && first.expiresAt > now) continue;
    if (batch.abortedAt === 0) {
      batch.abortedAt = now;
      lane.abort = new AbortController();
      batch.abort.abort();
    } else if (now - batch.abortedAt > answerMs) overdue(lane, batch);
  }
}
