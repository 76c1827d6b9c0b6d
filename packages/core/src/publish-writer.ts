import type { Clock } from "./clock.ts";
import { WaybillError } from "./errors.ts";
import { closedUnconfirmed, lastFailure, timedOut, worthAgain } from "./publish-failure.ts";
import { createLane, emptyLane, putBack, takeBatch, type Batch, type Entry, type Lane } from "./publish-lane.ts";
import { sweepLane } from "./publish-sweep.ts";
import type { RetryStrategy } from "./retry.ts";
import type { Message, PublishOutcome, Transport } from "./transport.ts";
import type { Turn } from "./turn.ts";

/** Writes the batches of each lane, and writes again what failed. */
export interface Writer {
  /** Last in its lane. */
  add(entry: Entry): void;
  online(connected: boolean): void;
  sweep(now: number): void;
  /** Settles all that is left. */
  close(): void;
}

export interface WriterOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly turn: Turn;
  readonly timeoutMs: number;
  readonly backoff: RetryStrategy;
  /** Once an entry, when its outcome is final. */
  readonly settle: (entry: Entry, error: WaybillError | undefined) => void;
  /** What was added so far is taken in hand. */
  readonly flushing: () => void;
  /** The entries of a batch have their outcomes. */
  readonly batchEnded: () => void;
}

export function createWriter(options: WriterOptions): Writer {
  const { transport, clock, turn, settle, flushing, batchEnded } = options;
  const { maxMessages, maxBytes, batches: maxBatches } = transport.lanes;
  const lanes = new Map<string, Lane>();
  let lastName: string | undefined;
  let lastLane: Lane | undefined;
  let connected = true;
  let closed = false;

  function add(entry: Entry): void {
    const lane = laneOf(entry.message);
    lane.waiting.push(entry);
    schedule(lane);
  }

  function laneOf(message: Message): Lane {
    const name = transport.lanes.of(message);
    if (name === lastName && lastLane !== undefined) return lastLane;
    let lane = lanes.get(name);
    if (lane === undefined) {
      lane = createLane(flush);
      lanes.set(name, lane);
    }
    lastName = name;
    lastLane = lane;
    return lane;
  }

  function schedule(lane: Lane): void {
    if (lane.scheduled) return;
    lane.scheduled = true;
    queueMicrotask(lane.flush);
  }

  function flush(lane: Lane): void {
    flushing();
    if (turn.isOver()) {
      turn.defer(lane.flush);
      return;
    }
    lane.scheduled = false;
    if (!connected || lane.backoff !== undefined || lane.failed.length > 0) return;
    while (lane.waiting.size > 0 && lane.batches.size < maxBatches) {
      const entries = takeBatch(lane, maxMessages, maxBytes);
      if (entries.length > 0) write(lane, entries);
    }
  }

  function write(lane: Lane, entries: readonly Entry[]): void {
    const { abort } = lane;
    const batch: Batch = { entries, abort, abortedAt: 0 };
    lane.batches.add(batch);
    const messages = entries.map(messageOf);
    let answer: Promise<readonly PublishOutcome[]>;
    try {
      answer = transport.publish(messages, { signal: abort.signal });
    } catch (error) {
      answer = Promise.reject(error);
    }
    answer.then(
      (outcomes) => answered(lane, batch, outcomes),
      (error: unknown) => {
        const wrapped =
          error instanceof WaybillError ? error : new WaybillError("TRANSPORT", `${transport.name}: publish failed`, { cause: error });
        failedAll(lane, batch, wrapped);
      },
    );
  }

  function answered(lane: Lane, batch: Batch, outcomes: readonly PublishOutcome[]): void {
    if (!lane.batches.delete(batch)) return;
    const { entries } = batch;
    let retrying = false;
    for (let index = 0; index < entries.length; index += 1) {
      const entry = entries[index] as Entry;
      const outcome = outcomes[index];
      entry.inFlight = false;
      if (entry.settled) continue;
      if (outcome?.ok === true) settle(entry, undefined);
      else retrying = failed(lane, entry, outcome?.error) || retrying;
    }
    if (!retrying && lane.failed.length === 0) lane.failures = 0;
    else if (lane.batches.size === 0) rest(lane);
    if (lane.waiting.size > 0) schedule(lane);
    batchEnded();
  }

  function failedAll(lane: Lane, batch: Batch, error: WaybillError): void {
    answered(
      lane,
      batch,
      batch.entries.map(() => ({ ok: false, error })),
    );
  }

  /** True if it is to be written again. */
  function failed(
    lane: Lane,
    entry: Entry,
    error = new WaybillError("TRANSPORT", `${transport.name}: no outcome for the message`),
  ): boolean {
    entry.maybeSent ||= error.certainty === "indefinite";
    entry.lastError = error;
    if (!worthAgain(error) || closed || clock.monotonic() >= entry.expiresAt) {
      settle(entry, lastFailure(entry, error));
      return false;
    }
    lane.failed.push(entry);
    return true;
  }

  /** The lane is at rest: what failed goes first, in the order of the calls, after a pause. */
  function rest(lane: Lane): void {
    if (lane.backoff !== undefined) return;
    lane.failures += 1;
    const delayMs = options.backoff.delayMs(lane.failures);
    lane.backoff = clock.after(delayMs, () => {
      lane.backoff = undefined;
      putBack(lane);
      schedule(lane);
    });
  }

  return {
    add,
    online(now) {
      connected = now;
      if (now) for (const lane of lanes.values()) schedule(lane);
    },
    sweep(now) {
      const due = {
        now,
        late: (entry: Entry): void => settle(entry, timedOut(entry, options.timeoutMs)),
        overdue: (lane: Lane, batch: Batch): void =>
          failedAll(lane, batch, new WaybillError("PUBLISH_TIMEOUT", `${transport.name}: no confirm in time`)),
      };
      for (const lane of lanes.values()) sweepLane(lane, due);
    },
    close() {
      closed = true;
      for (const lane of lanes.values()) for (const { abort } of lane.batches) abort.abort();
      for (const lane of lanes.values()) {
        for (const entry of emptyLane(lane)) if (!entry.settled) settle(entry, closedUnconfirmed(entry));
      }
    },
  };
}

const messageOf = (entry: Entry): Message => entry.message;
