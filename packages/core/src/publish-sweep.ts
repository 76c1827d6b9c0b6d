import type { Batch, Entry, Lane } from "./publish-lane.ts";

/** How long an adapter may take to answer after its signal fired. */
const answerMs = 1000;
/** An expired entry beside younger ones waits so long for its batch to be given up, which tells more of it. */
const graceMs = 150;

/** `now` and the times of the entries are monotonic. */
export interface Due {
  readonly now: number;
  /** Its time is over. */
  readonly late: (entry: Entry) => void;
  /** The adapter did not answer although it was told to give up. */
  readonly overdue: (lane: Lane, batch: Batch) => void;
}

/** Finds what a lane holds beyond its time. Called every so often: batches written between two calls are given up together. */
export function sweepLane(lane: Lane, due: Due): void {
  const { now, late, overdue } = due;
  // In call order, so that the first that is not due ends the search.
  for (let next = lane.waiting.peek(); next !== undefined && (next.settled || next.expiresAt <= now); next = lane.waiting.peek()) {
    lane.waiting.shift();
    if (!next.settled) late(next);
  }
  for (const entry of lane.failed) if (!entry.settled && entry.expiresAt <= now) late(entry);
  if (lane.batches.size === 0) return;
  // What is written from now on is younger, and is not to be given up with what is older: it would be written again each time.
  if (!lane.abort.signal.aborted) lane.abort = new AbortController();
  const alive = new Set<AbortController>();
  for (const { entries, abort } of lane.batches) if ((entries.at(-1) as Entry).expiresAt > now) alive.add(abort);
  for (const batch of lane.batches) {
    if (batch.abortedAt !== 0) {
      if (now - batch.abortedAt > answerMs) overdue(lane, batch);
    } else if (alive.has(batch.abort)) sweepBatch(batch, due);
    else {
      batch.abortedAt = now;
      batch.abort.abort();
    }
  }
}

/** Nobody waits for longer than was asked for because a younger message is in the same batch. */
function sweepBatch({ entries }: Batch, { now, late }: Due): void {
  for (const entry of entries) {
    if (entry.expiresAt + graceMs > now) return;
    if (entry.settled) continue;
    entry.maybeSent = true;
    late(entry);
  }
}
