import type { Clock, Timer } from "./clock.ts";
import { withDeadline } from "./deadline.ts";
import { isWaybillError, WaybillError } from "./errors.ts";
import type { Transport, TransportStatus } from "./transport.ts";

/** Connects the transport, for as long as it takes, and knows how it is. */
export interface Connection {
  /** Resolves when connected; rejects at once with what no waiting can mend, or when `signal` fires. */
  open(signal: AbortSignal | undefined): Promise<void>;
  /** Ends an `open` that still tries. */
  giveUp(): void;
  close(): Promise<void>;
  readonly status: TransportStatus;
}

export interface ConnectionOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  /** Of one try. */
  readonly connectTimeoutMs: number;
  readonly changed: (status: TransportStatus, reason: WaybillError | undefined) => void;
}

const firstWaitMs = 100;
const longestWaitMs = 5_000;
const closeMs = 10_000;

export function createConnection({ transport, clock, connectTimeoutMs, changed }: ConnectionOptions): Connection {
  const gaveUp = new AbortController();
  let status: TransportStatus = "disconnected";

  function set(next: TransportStatus, reason?: WaybillError): void {
    if (status === next && reason === undefined) return;
    status = next;
    changed(next, reason);
  }

  async function open(signal: AbortSignal | undefined): Promise<void> {
    const ends = signal === undefined ? gaveUp.signal : AbortSignal.any([gaveUp.signal, signal]);
    for (let waitMs = firstWaitMs; ; waitMs = Math.min(waitMs * 2, longestWaitMs)) {
      ends.throwIfAborted();
      set("connecting");
      const failure = await attempt(ends);
      if (failure === undefined) return;
      set("disconnected", failure);
      if (!failure.retryable || ends.aborted)
        throw ends.aborted ? new WaybillError("ABORTED", `gave up connecting to ${transport.name}`, { cause: failure }) : failure;
      // Spread, so that a fleet does not come back in step.
      await wait(waitMs * (0.5 + Math.random()), ends);
    }
  }

  async function attempt(ends: AbortSignal): Promise<WaybillError | undefined> {
    const limit = new AbortController();
    const timer = clock.after(connectTimeoutMs, () => limit.abort());
    try {
      await transport.connect({ signal: AbortSignal.any([ends, limit.signal]), onStatus: set });
      set("connected");
      return undefined;
    } catch (error) {
      if (limit.signal.aborted && !ends.aborted)
        return new WaybillError("CONNECTION", `${transport.name} did not connect within ${connectTimeoutMs} ms`, { cause: error });
      return isWaybillError(error) ? error : new WaybillError("CONNECTION", `${transport.name} did not connect`, { cause: error });
    } finally {
      timer.cancel();
    }
  }

  function wait(delayMs: number, ends: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const timer: Timer = clock.after(delayMs, done);
      function done(): void {
        timer.cancel();
        ends.removeEventListener("abort", done);
        resolve();
      }
      ends.addEventListener("abort", done, { once: true });
    });
  }

  return {
    open,
    giveUp: () => gaveUp.abort(),
    async close() {
      await withDeadline(transport.close(), closeMs, clock);
      set("closed");
    },
    get status() {
      return status;
    },
  };
}
