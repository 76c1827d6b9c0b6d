import type { Clock, Timer } from "./clock.ts";
import { settledBefore } from "./deadline.ts";
import { createDeque, type Deque } from "./deque.ts";
import { WaybillError } from "./errors.ts";
import type { RetryStrategy } from "./retry.ts";
import type { Message, PublishOutcome, Transport } from "./transport.ts";
import type { Turn } from "./turn.ts";

/**
 * Takes single messages and writes batches: what arrives while a lane is full is the lane's next batch; no timer waits.
 * It alone sends again, in order and with the same id, once the lane is at rest.
 */
export interface Publisher {
  /** Resolves with the message once it is confirmed. `bytes`: what its body weighs. */
  add(message: Message, bytes: number, signal?: AbortSignal): Promise<Message>;
  /** Tell it that the transport is connected, or is not. */
  online(connected: boolean): void;
  stats(): PublisherStats;
  /** Waits until all is settled or `drainOver` fires; then settles the rest: `CLOSED` if never written, else indefinite. */
  close(drainOver: AbortSignal): Promise<void>;
}

export interface PublisherStats {
  readonly buffered: number;
  readonly bufferedBytes: number;
  readonly waiting: number;
  readonly refused: number;
}

export interface PublisherOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly turn: Turn;
  readonly timeoutMs: number;
  readonly maxBuffered: number;
  readonly maxBufferedBytes: number;
  readonly maxWaiting: number;
  readonly backoff: RetryStrategy;
  readonly published: (topic: string) => void;
  readonly failed: (topic: string, error: WaybillError) => void;
}

interface Entry {
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

interface Lane {
  readonly waiting: Deque<Entry>;
  readonly batches: Set<Batch>;
  failed: Entry[];
  scheduled: boolean;
  failures: number;
  backoff: Timer | undefined;
  /** Serves all batches until it has fired: making one for every batch would cost more than the batch. */
  abort: AbortController;
  readonly flush: () => void;
}

interface Batch {
  readonly entries: readonly Entry[];
  readonly abort: AbortController;
  abortedAt: number;
}

const sweepMs = 50;
/** How long an adapter may take to answer after its signal fired. */
const answerMs = 1000;

export function createPublisher(options: PublisherOptions): Publisher {
  const { transport, clock, turn } = options;
  const { maxMessages, maxBytes, batches: maxBatches } = transport.lanes;
  const lanes = new Map<string, Lane>();
  const room = createDeque<Entry>();
  let lastName: string | undefined;
  let lastLane: Lane | undefined;
  let order = 0;
  let buffered = 0;
  let bufferedBytes = 0;
  let refused = 0;
  let connected = true;
  let closed = false;
  let drained = false;
  let sweep: Timer | undefined;
  /** Of what is added before the next flush, so that a burst reads the clock once; 0: to be read. Whole ms take no room of their own. */
  let expiry = 0;
  let full: WaybillError | undefined;
  let onIdle: (() => void) | undefined;
  /** Of those in `room`: their callers gave up. */
  let roomGone = 0;

  let capturedResolve: (message: Message) => void;
  let capturedReject: (error: WaybillError) => void;
  const capture = (resolve: (message: Message) => void, reject: (error: WaybillError) => void): void => {
    capturedResolve = resolve;
    capturedReject = reject;
  };

  function add(message: Message, bytes: number, signal?: AbortSignal): Promise<Message> {
    if (closed) return Promise.reject(new WaybillError("CLOSED", "the bus is closed: nothing was published"));
    if (signal?.aborted === true) return Promise.reject(aborted("definite"));
    const waits = room.size > 0 || buffered >= options.maxBuffered || bufferedBytes + bytes > options.maxBufferedBytes;
    const alone = buffered === 0;
    if (waits && !alone && room.size - roomGone >= options.maxWaiting) {
      refused += 1;
      return Promise.reject(bufferFull());
    }
    const promise = new Promise<Message>(capture);
    order += 1;
    const entry: Entry = {
      message,
      bytes,
      resolve: capturedResolve,
      reject: capturedReject,
      expiresAt: waits && !alone ? expiryNow() : (expiry ||= expiryNow()),
      order,
      maybeSent: false,
      lastError: undefined,
      settled: false,
      inRoom: false,
      inFlight: false,
      unlisten: undefined,
    };
    if (signal !== undefined) listen(entry, signal);
    if (waits && !alone) {
      entry.inRoom = true;
      room.push(entry);
    } else enqueue(entry);
    sweep ??= clock.after(sweepMs, sweepNow);
    return promise;
  }

  function expiryNow(): number {
    return Math.ceil(clock.monotonic() + options.timeoutMs);
  }

  /** One object for a whole burst: a million stacks would be the leak that the bound is there to prevent. */
  function bufferFull(): WaybillError {
    return (full ??= new WaybillError(
      "BUFFER_FULL",
      `${buffered} messages wait for the broker and ${room.size - roomGone} callers for room`,
    ));
  }

  function listen(entry: Entry, signal: AbortSignal): void {
    const onAbort = (): void => {
      if (entry.settled) return;
      if (entry.inRoom) roomGone += 1;
      settle(entry, aborted(entry.inFlight || entry.maybeSent ? "indefinite" : "definite"));
      if (roomGone > room.size / 2) clearRoom();
    };
    signal.addEventListener("abort", onAbort, { once: true });
    entry.unlisten = () => signal.removeEventListener("abort", onAbort);
  }

  /** Once in a while, so that each costs little. */
  function clearRoom(): void {
    room.remove(isSettled);
    roomGone = 0;
    if (buffered === 0 && room.size === 0) onIdle?.();
  }

  function enqueue(entry: Entry): void {
    entry.inRoom = false;
    buffered += 1;
    bufferedBytes += entry.bytes;
    const lane = laneOf(entry.message);
    lane.waiting.push(entry);
    schedule(lane);
  }

  function laneOf(message: Message): Lane {
    const name = transport.lanes.of(message);
    if (name === lastName && lastLane !== undefined) return lastLane;
    let lane = lanes.get(name);
    if (lane === undefined) {
      const made: Lane = {
        waiting: createDeque(),
        batches: new Set(),
        failed: [],
        scheduled: false,
        failures: 0,
        backoff: undefined,
        abort: new AbortController(),
        flush: () => flush(made),
      };
      lane = made;
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
    expiry = 0;
    if (turn.isOver()) {
      turn.defer(lane.flush);
      return;
    }
    lane.scheduled = false;
    if (!connected || lane.backoff !== undefined || lane.failed.length > 0) return;
    while (lane.waiting.size > 0 && lane.batches.size < maxBatches) {
      const entries = takeBatch(lane);
      if (entries.length > 0) write(lane, entries);
    }
  }

  function takeBatch(lane: Lane): Entry[] {
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
        answered(
          lane,
          batch,
          entries.map(() => ({ ok: false, error: wrapped })),
        );
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
    if (room.size > 0) admit();
  }

  function failed(
    lane: Lane,
    entry: Entry,
    error = new WaybillError("TRANSPORT", `${transport.name}: no outcome for the message`),
  ): boolean {
    entry.maybeSent ||= error.certainty === "indefinite";
    entry.lastError = error;
    if (!worthAgain(error) || drained || clock.monotonic() >= entry.expiresAt) {
      settle(entry, entry.maybeSent && error.certainty === "definite" ? unsure(entry, error) : error);
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
      lane.failed.sort((a, b) => a.order - b.order);
      lane.waiting.pushFront(lane.failed.filter((entry) => !entry.settled));
      lane.failed = [];
      schedule(lane);
    });
  }

  function settle(entry: Entry, error: WaybillError | undefined): void {
    entry.settled = true;
    entry.unlisten?.();
    if (!entry.inRoom) {
      buffered -= 1;
      bufferedBytes -= entry.bytes;
    }
    if (error === undefined) {
      options.published(entry.message.topic);
      entry.resolve(entry.message);
    } else {
      options.failed(entry.message.topic, error);
      entry.reject(error);
    }
    if (buffered === 0 && room.size === 0) onIdle?.();
  }

  function admit(): void {
    for (let next = room.peek(); next !== undefined; next = room.peek()) {
      if (!next.settled && buffered > 0 && (buffered >= options.maxBuffered || bufferedBytes + next.bytes > options.maxBufferedBytes))
        return;
      room.shift();
      if (next.settled) roomGone -= 1;
      full = undefined;
      if (!next.settled) enqueue(next);
    }
    if (buffered === 0) onIdle?.();
  }

  function sweepNow(): void {
    sweep = undefined;
    const now = clock.monotonic();
    // In call order, so that the first that is not due ends the search.
    for (let next = room.peek(); next !== undefined && (next.settled || next.expiresAt <= now); next = room.peek()) {
      room.shift();
      if (next.settled) roomGone -= 1;
      else settle(next, timedOut(next));
    }
    for (const lane of lanes.values()) sweepLane(lane, now);
    if (room.size > 0) admit();
    if (buffered > 0 || room.size > 0) sweep = clock.after(sweepMs, sweepNow);
  }

  function sweepLane(lane: Lane, now: number): void {
    for (let next = lane.waiting.peek(); next !== undefined && (next.settled || next.expiresAt <= now); next = lane.waiting.peek()) {
      lane.waiting.shift();
      if (!next.settled) settle(next, timedOut(next));
    }
    for (const entry of lane.failed) if (!entry.settled && entry.expiresAt <= now) settle(entry, timedOut(entry));
    for (const batch of lane.batches) {
      const first = batch.entries[0] as Entry;
      if (batch.abortedAt === 0 && first.expiresAt > now) continue;
      if (batch.abortedAt === 0) {
        batch.abortedAt = now;
        lane.abort = new AbortController();
        batch.abort.abort();
      } else if (now - batch.abortedAt > answerMs) {
        answered(
          lane,
          batch,
          batch.entries.map(() => ({ ok: false, error: new WaybillError("PUBLISH_TIMEOUT", `${transport.name}: no confirm in time`) })),
        );
      }
    }
  }

  function timedOut(entry: Entry): WaybillError {
    const certainty = entry.maybeSent ? "indefinite" : "definite";
    const text = `no confirm for topic "${entry.message.topic}" within ${options.timeoutMs} ms`;
    return new WaybillError("PUBLISH_TIMEOUT", text, { certainty, cause: entry.lastError });
  }

  return {
    add,
    online(now) {
      connected = now;
      if (now) for (const lane of lanes.values()) schedule(lane);
    },
    stats: () => ({ buffered, bufferedBytes, waiting: room.size - roomGone, refused }),
    async close(drainOver) {
      if (closed) return;
      closed = true;
      if (buffered > 0 || room.size > 0) await idleBefore(drainOver);
      drained = true;
      sweep?.cancel();
      for (const { abort } of lanes.values()) abort.abort();
      for (const entry of room.clear()) {
        if (!entry.settled) settle(entry, new WaybillError("CLOSED", "closed before it was written"));
      }
      for (const lane of lanes.values()) closeLane(lane);
    },
  };

  async function idleBefore(drainOver: AbortSignal): Promise<void> {
    const idle = new Promise<void>((resolve) => (onIdle = resolve));
    await settledBefore(idle, drainOver);
    onIdle = undefined;
  }

  function closeLane(lane: Lane): void {
    lane.backoff?.cancel();
    const left = [...lane.waiting.clear(), ...lane.failed];
    for (const batch of lane.batches) left.push(...batch.entries);
    lane.failed = [];
    lane.batches.clear();
    for (const entry of left) {
      if (entry.settled) continue;
      const certainty = entry.inFlight || entry.maybeSent ? "indefinite" : "definite";
      settle(entry, new WaybillError("CLOSED", "closed before its confirm came", { certainty }));
    }
  }
}

const messageOf = (entry: Entry): Message => entry.message;
const isSettled = (entry: Entry): boolean => entry.settled;

/** That nobody replies is for the caller to wait out, not for the lane. */
function worthAgain({ code, retryable }: WaybillError): boolean {
  return retryable && code !== "NO_RESPONDERS";
}

function aborted(certainty: "definite" | "indefinite"): WaybillError {
  return new WaybillError("ABORTED", "the caller's signal fired", { certainty });
}

/** A later definite failure does not undo an earlier try that may have gone through. */
function unsure(entry: Entry, error: WaybillError): WaybillError {
  return new WaybillError(error.code, `${error.message} (an earlier try of "${entry.message.topic}" may have gone through)`, {
    certainty: "indefinite",
    cause: error,
  });
}
