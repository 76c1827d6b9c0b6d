import type { Clock, Timer } from "./clock.ts";
import { settledBefore } from "./deadline.ts";
import { createDeque } from "./deque.ts";
import { WaybillError } from "./errors.ts";
import { aborted, timedOut } from "./publish-failure.ts";
import type { Entry } from "./publish-lane.ts";
import { createWriter } from "./publish-writer.ts";
import type { RetryStrategy } from "./retry.ts";
import type { Message, Transport } from "./transport.ts";
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

const sweepMs = 50;

export function createPublisher(options: PublisherOptions): Publisher {
  const { clock } = options;
  const room = createDeque<Entry>();
  let order = 0;
  let buffered = 0;
  let bufferedBytes = 0;
  let refused = 0;
  let closed = false;
  let sweep: Timer | undefined;
  /** Of what is added before the next flush, so that a burst reads the clock once; 0: to be read. Whole ms take no room of their own. */
  let expiry = 0;
  let full: WaybillError | undefined;
  let onIdle: (() => void) | undefined;
  /** Of those in `room`: their callers gave up. */
  let roomGone = 0;

  const writer = createWriter({
    ...options,
    settle,
    flushing() {
      expiry = 0;
    },
    batchEnded() {
      if (room.size > 0) admit();
    },
  });
  const { add: write } = writer;

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
    write(entry);
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
      else settle(next, timedOut(next, options.timeoutMs));
    }
    writer.sweep(now);
    if (room.size > 0) admit();
    if (buffered > 0 || room.size > 0) sweep = clock.after(sweepMs, sweepNow);
  }

  return {
    add,
    online: writer.online,
    stats: () => ({ buffered, bufferedBytes, waiting: room.size - roomGone, refused }),
    async close(drainOver) {
      if (closed) return;
      closed = true;
      if (buffered > 0 || room.size > 0) await idleBefore(drainOver);
      sweep?.cancel();
      for (const entry of room.clear()) {
        if (!entry.settled) settle(entry, new WaybillError("CLOSED", "closed before it was written"));
      }
      writer.close();
    },
  };

  async function idleBefore(drainOver: AbortSignal): Promise<void> {
    const idle = new Promise<void>((resolve) => (onIdle = resolve));
    await settledBefore(idle, drainOver);
    onIdle = undefined;
  }
}

const isSettled = (entry: Entry): boolean => entry.settled;
