import { systemClock, type Timer } from "./clock.ts";
import { assertOptions } from "./config.ts";
import { withDeadline } from "./deadline.ts";
import { durationMs } from "./duration.ts";
import { WaybillError } from "./errors.ts";
import { createKeepAlive } from "./keep-alive.ts";
import { safeText } from "./log.ts";
import { createLoans, type PoolEntry } from "./pool-loans.ts";
import { poolSpec, type AcquireOptions, type ConnectionPool, type Holder, type Lease, type PoolOptions } from "./pool-types.ts";
import { createWaiters } from "./pool-waiters.ts";

export type { AcquireOptions, ConnectionPool, Holder, Lease, PoolOptions, PoolStats } from "./pool-types.ts";

const holdersNamed = 10;

/** Throws `CONFIG`. Opens nothing by itself. */
export function createPool<T>(options: PoolOptions<T>): ConnectionPool<T> {
  assertOptions(options, poolSpec, "pool");
  const { name, max, min = 0, check, clock = systemClock } = options;
  const acquireMs = durationMs(options.acquireTimeout, "pool.acquireTimeout");
  const destroyMs = durationMs(options.destroyTimeout ?? "5s", "pool.destroyTimeout");
  const idleMs = options.idleTimeout === undefined ? Infinity : durationMs(options.idleTimeout, "pool.idleTimeout");
  const maxAgeMs = options.maxAge === undefined ? Infinity : durationMs(options.maxAge, "pool.maxAge");
  if (min > max) throw new WaybillError("CONFIG", `pool.min: expected at most pool.max (${max}), found the number ${min}`);

  /** The last one returned is the first one taken, so that the others grow old. */
  const idle: PoolEntry<T>[] = [];
  const creates = new Set<AbortController>();
  const keepAlive = createKeepAlive();
  const waiters = createWaiters<T>({ clock, keepAlive, tooLate, aborted });
  const loans = createLoans<T>({
    clock,
    returned(entry) {
      offer(entry);
      pump();
    },
    discarded: (entry) => void destroy(entry.value),
  });
  let checking = 0;
  let destroying = 0;
  let created = 0;
  let failedCreates = 0;
  let failedChecks = 0;
  let sweep: Timer | undefined;
  let isClosed = false;
  let closing: Promise<readonly Holder[]> | undefined;
  let whenQuiet: (() => void) | undefined;

  const open = (): number => idle.length + loans.size + creates.size + checking + destroying;
  const isAged = (entry: PoolEntry<T>): boolean => clock.monotonic() - entry.openedAt >= maxAgeMs;

  /** Starts as much as the waiters need and the bound allows. */
  function pump(): void {
    while (startOne());
    if (whenQuiet !== undefined && loans.size + creates.size + checking + destroying === 0) whenQuiet();
  }

  function startOne(): boolean {
    if (isClosed || waiters.size <= creates.size + checking) return false;
    const entry = takeIdle();
    if (entry === undefined) {
      if (open() >= max) return false;
      create((error) => waiters.next()?.reject(error)).catch(() => undefined);
    } else if (check === undefined) {
      offer(entry);
    } else {
      void checkOne(entry, check);
    }
    return true;
  }

  function takeIdle(): PoolEntry<T> | undefined {
    let entry = idle.pop();
    while (entry !== undefined && isAged(entry)) {
      void destroy(entry.value);
      entry = idle.pop();
    }
    return entry;
  }

  /** To the one that waits longest, else to the idle ones. */
  function offer(entry: PoolEntry<T>): void {
    if (isClosed || isAged(entry)) {
      void destroy(entry.value);
      return;
    }
    const waiter = waiters.next();
    if (waiter === undefined) {
      entry.idleSince = clock.monotonic();
      idle.push(entry);
      sweepLater();
    } else {
      waiter.resolve(loans.lend(entry, waiter.holder));
    }
  }

  /** `failed` is told before the next one is started, so that one who has his answer counts no more. */
  async function create(failed?: (error: unknown) => void): Promise<void> {
    const controller = new AbortController();
    creates.add(controller);
    const deadline = clock.after(acquireMs, () => controller.abort());
    try {
      const value = await openOne(controller.signal);
      creates.delete(controller);
      created += 1;
      offer({ value, openedAt: clock.monotonic(), idleSince: 0 });
    } catch (error) {
      creates.delete(controller);
      failedCreates += 1;
      failed?.(error);
      throw error;
    } finally {
      deadline.cancel();
      pump();
    }
  }

  /** Settles at the latest when the signal fires. What comes after that belongs to nobody, and is destroyed. */
  function openOne(signal: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      let over = false;
      const giveUp = (): void => {
        over = true;
        reject(isClosed ? closed() : slowCreate());
      };
      signal.addEventListener("abort", giveUp, { once: true });
      const opened = async (): Promise<void> => {
        const value = await options.create({ signal });
        signal.removeEventListener("abort", giveUp);
        if (over) void destroy(value);
        else resolve(value);
      };
      opened().catch(reject);
    });
  }

  async function checkOne(entry: PoolEntry<T>, ask: (value: T) => Promise<boolean> | boolean): Promise<void> {
    checking += 1;
    let healthy = false;
    const asked = (async () => {
      healthy = await ask(entry.value);
    })();
    const inTime = await withDeadline(asked, acquireMs, clock);
    checking -= 1;
    if (inTime && healthy) {
      offer(entry);
    } else {
      failedChecks += 1;
      void destroy(entry.value);
    }
    pump();
  }

  async function destroy(value: T): Promise<void> {
    destroying += 1;
    await withDeadline((async () => options.destroy(value))(), destroyMs, clock);
    destroying -= 1;
    pump();
  }

  function acquire({ signal, holder = "unnamed", timeout }: AcquireOptions = {}): Promise<Lease<T>> {
    if (isClosed) return Promise.reject(closed());
    if (signal?.aborted === true) return Promise.reject(aborted());
    const entry = check === undefined && waiters.size === 0 ? takeIdle() : undefined;
    if (entry !== undefined) return Promise.resolve(loans.lend(entry, holder));
    const waitMs = timeout === undefined ? acquireMs : durationMs(timeout, "acquire.timeout");
    const lease = waiters.wait(holder, waitMs, signal);
    pump();
    return lease;
  }

  function sweepLater(): void {
    const everyMs = Math.max(10, Math.min(idleMs, maxAgeMs) / 4);
    if (sweep === undefined && everyMs < Infinity && idle.length > 0 && !isClosed) sweep = clock.after(everyMs, sweepNow);
  }

  function sweepNow(): void {
    sweep = undefined;
    const now = clock.monotonic();
    let spare = open() - destroying - min;
    const kept: PoolEntry<T>[] = [];
    for (const entry of idle.splice(0)) {
      const unused = now - entry.idleSince >= idleMs && spare > 0;
      if (!unused && !isAged(entry)) {
        kept.push(entry);
        continue;
      }
      spare -= 1;
      void destroy(entry.value);
    }
    idle.push(...kept);
    sweepLater();
  }

  async function shut(timeoutMs: number): Promise<readonly Holder[]> {
    sweep?.cancel();
    for (let waiter = waiters.next(); waiter !== undefined; waiter = waiters.next()) waiter.reject(closed());
    keepAlive.set(true);
    for (const controller of creates) controller.abort();
    for (const entry of idle.splice(0)) void destroy(entry.value);
    await quiet(timeoutMs);
    const missing = [...loans.leaked(), ...loans.held()];
    for (const { value } of loans.recall()) void destroy(value);
    await quiet(destroyMs);
    keepAlive.set(false);
    return missing;
  }

  async function quiet(limitMs: number): Promise<void> {
    const done = new Promise<void>((resolve) => (whenQuiet = resolve));
    pump();
    await withDeadline(done, limitMs, clock);
  }

  function tooLate(waitedMs: number): WaybillError {
    const held = loans.held().map(({ holder, heldMs }) => `"${safeText(holder, 80)}" for ${Math.round(heldMs)} ms`);
    const more = held.length > holdersNamed ? ` and ${held.length - holdersNamed} more` : "";
    const holders = held.length === 0 ? "none is held" : `held by ${held.slice(0, holdersNamed).join(", ")}${more}`;
    const opening = creates.size === 0 ? "" : `, ${creates.size} being opened`;
    return new WaybillError("POOL_TIMEOUT", `pool "${name}": none of ${max} came free in ${waitedMs} ms; ${holders}${opening}`);
  }

  function slowCreate(): WaybillError {
    return new WaybillError("CONNECTION", `pool "${name}": opening one took longer than ${acquireMs} ms`);
  }

  function closed(): WaybillError {
    return new WaybillError("CLOSED", `pool "${name}" is closed`);
  }

  function aborted(): WaybillError {
    return new WaybillError("ABORTED", `the signal fired while waiting for pool "${name}"`);
  }

  const pool: ConnectionPool<T> = {
    acquire,
    async fill() {
      if (isClosed) throw closed();
      await Promise.all(Array.from({ length: Math.max(0, min - open()) }, () => create()));
    },
    stats: () => ({
      open: open(),
      idle: idle.length,
      opening: creates.size,
      waiting: waiters.size,
      held: loans.held(),
      leaked: loans.leaked(),
      created,
      failedCreates,
      failedChecks,
    }),
    close({ timeout = "5s" } = {}) {
      if (closing !== undefined) return closing;
      const timeoutMs = durationMs(timeout, "close.timeout");
      isClosed = true;
      closing = shut(timeoutMs);
      return closing;
    },
    async [Symbol.asyncDispose]() {
      await pool.close();
    },
  };
  return pool;
}
