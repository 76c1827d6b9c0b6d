import type { Clock, Timer } from "./clock.ts";
import { settledBefore } from "./deadline.ts";
import { isWaybillError, WaybillError } from "./errors.ts";
import { sizeOf } from "./failure.ts";
import type { Publisher } from "./publisher.ts";
import type { OutboxRow, Store } from "./store/store.ts";
import type { Wire } from "./wire.ts";

/**
 * Sends the outbox: takes rows in order, publishes them with their own ids, deletes what was confirmed. A row that cannot be
 * sent stays, with what comes after it of its key, and is tried again. Two relays of one store are safe.
 */
export interface Relay {
  start(): void;
  stop(drainOver: AbortSignal): Promise<void>;
  readonly error: WaybillError | undefined;
}

export interface RelayOptions {
  readonly store: Store;
  readonly owner: string;
  readonly publisher: Publisher;
  readonly wire: Wire;
  readonly clock: Clock;
  readonly sent: (count: number) => void;
}

const limit = 500;
/** How long the rows of a relay that died stay with it. */
const leaseMs = 10_000;
const pollMs = 1_000;

export function createRelay({ store, owner, publisher, wire, clock, sent }: RelayOptions): Relay {
  let stopping = false;
  let running: Promise<void> = Promise.resolve();
  let busy = false;
  let again = false;
  let timer: Timer | undefined;
  let unwatch: (() => void) | undefined;
  let error: WaybillError | undefined;

  function wake(): void {
    if (stopping) return;
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    timer?.cancel();
    running = work();
  }

  async function work(): Promise<void> {
    let waitMs = pollMs;
    try {
      do {
        again = false;
        const rows = await store.outbox.take({ owner, limit, leaseMs });
        if (rows.length > 0 && (await relay(rows))) again = true;
      } while (again && !stopping);
      error = undefined;
    } catch (thrown) {
      error = isWaybillError(thrown) ? thrown : new WaybillError("STORE", "the outbox cannot be read", { cause: thrown });
      waitMs = 2 * pollMs;
    }
    busy = false;
    if (!stopping) timer = clock.after(waitMs, wake);
  }

  /** True if all of them went out. */
  async function relay(rows: readonly OutboxRow[]): Promise<boolean> {
    const outcomes = await Promise.allSettled(rows.map(publish));
    const done: number[] = [];
    const left: number[] = [];
    let failure: unknown;
    outcomes.forEach((outcome, index) => {
      const { row } = rows[index] as OutboxRow;
      if (outcome.status === "fulfilled") done.push(row);
      else {
        left.push(row);
        failure ??= outcome.reason;
      }
    });
    if (done.length > 0) {
      await store.outbox.done(owner, done);
      sent(done.length);
    }
    if (left.length === 0) return true;
    await store.outbox.release(owner, left);
    throw failure;
  }

  async function publish({ message }: OutboxRow): Promise<void> {
    const ready = await wire.fromBytes(message);
    await publisher.add(ready, sizeOf(ready.body));
  }

  return {
    start() {
      unwatch = store.outbox.watch(wake);
      wake();
    },
    async stop(drainOver) {
      stopping = true;
      timer?.cancel();
      unwatch?.();
      await settledBefore(running, drainOver);
    },
    get error() {
      return error;
    },
  };
}
