import { systemClock, type Timer } from "./clock.ts";
import { assertOptions } from "./config.ts";
import { withDeadline } from "./deadline.ts";
import { durationMs } from "./duration.ts";
import { WaybillError } from "./errors.ts";
import { createKeepAlive } from "./keep-alive.ts";
import { safeText } from "./log.ts";
import { poolSpec, type AcquireOptions, type ConnectionPool, type Holder, type Lease, type PoolOptions } from "./pool-types.ts";

export type { AcquireOptions, ConnectionPool, Holder, Lease, PoolOptions, PoolStats } from "./pool-types.ts";

interface Entry<T> {
  readonly value: T;
  readonly openedAt: number;
  idleSince: number;
}

/** What the pool knows of a lease; not the lease itself, so that a forgotten one becomes garbage. */
interface Loan<T> {
  readonly entry: Entry<T>;
  readonly holder: string;
  readonly since: number;
}

interface Waiter<T> {
  readonly holder: string;
  readonly resolve: (lease: Lease<T>) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: Timer;
  readonly unlisten: () => void;
}

const leaksKept = 20;
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
  const idle: Entry<T>[] = [];
  const loans = new Set<Loan<T>>();
  const waiters = new Set<Waiter<T>>();
  const creates = new Set<AbortController>();
  const leaked: Holder[] = [];
  const keepAlive = createKeepAlive();
  let checking = 0;
  let destroying = 0;
  let created = 0;
  let failedCreates = 0;
  let failedChecks = 0;
  let sweep: Timer | undefined;
  let isClosed = false;
  let closing: Promise<readonly Holder[]> | undefined;
  let whenQuiet: (() => void) | undefined;

  const forgotten = new FinalizationRegistry<Loan<T>>((loan) => {
    if (!loans.delete(loan)) return;
    leaked.push(holderOf(loan));
    if (leaked.length > leaksKept) leaked.shift();
    void destroy(loan.entry.value);
  });

  const open = (): number => idle.length + loans.size + creates.size + checking + destroying;
  const isAged = (entry: Entry<T>): boolean => clock.monotonic() - entry.openedAt >= maxAgeMs;
  const holderOf = ({ holder, since }: Loan<T>): Holder => ({ holder, heldMs: clock.monotonic() - since });

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
      create(refuseFirst).catch(() => undefined);
    } else if (check === undefined) {
      offer(entry);
    } else {
      void checkOne(entry, check);
    }
    return true;
  }

  function takeIdle(): Entry<T> | undefined {
    let entry = idle.pop();
    while (entry !== undefined && isAged(entry)) {
      void destroy(entry.value);
      entry = idle.pop();
    }
    return entry;
  }

  /** To the one that waits longest, else to the idle ones. */
  function offer(entry: Entry<T>): void {
    if (isClosed || isAged(entry)) {
      void destroy(entry.value);
      return;
    }
    const [waiter] = waiters;
    if (waiter === undefined) {
      entry.idleSince = clock.monotonic();
      idle.push(entry);
      sweepLater();
    } else {
      leave(waiter);
      waiter.resolve(lend(entry, waiter.holder));
    }
  }

  function lend(entry: Entry<T>, holder: string): Lease<T> {
    const loan: Loan<T> = { entry, holder, since: clock.monotonic() };
    const end = (back: () => void): void => {
      if (!loans.delete(loan)) return;
      forgotten.unregister(loan);
      back();
      pump();
    };
    const lease: Lease<T> = {
      value: entry.value,
      release: () => end(() => offer(entry)),
      discard: () => end(() => void destroy(entry.value)),
      async [Symbol.asyncDispose]() {
        lease.release();
      },
    };
    loans.add(loan);
    forgotten.register(lease, loan, loan);
    return lease;
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

  async function checkOne(entry: Entry<T>, ask: (value: T) => Promise<boolean> | boolean): Promise<void> {
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

  function leave(waiter: Waiter<T>): void {
    waiters.delete(waiter);
    keepAlive.set(waiters.size > 0);
    waiter.timer.cancel();
    waiter.unlisten();
  }

  function refuse(waiter: Waiter<T>, error: unknown): void {
    leave(waiter);
    waiter.reject(error);
  }

  function refuseFirst(error: unknown): void {
    const [waiter] = waiters;
    if (waiter !== undefined) refuse(waiter, error);
  }

  function acquire({ signal, holder = "unnamed", timeout }: AcquireOptions = {}): Promise<Lease<T>> {
    if (isClosed) return Promise.reject(closed());
    if (signal?.aborted === true) return Promise.reject(aborted());
    const entry = check === undefined && waiters.size === 0 ? takeIdle() : undefined;
    if (entry !== undefined) return Promise.resolve(lend(entry, holder));
    const waitMs = timeout === undefined ? acquireMs : durationMs(timeout, "acquire.timeout");
    return new Promise((resolve, reject) => {
      const onAbort = (): void => refuse(waiter, aborted());
      const waiter: Waiter<T> = {
        holder,
        resolve,
        reject,
        timer: clock.after(waitMs, () => refuse(waiter, tooLate(waitMs))),
        unlisten: () => signal?.removeEventListener("abort", onAbort),
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      waiters.add(waiter);
      keepAlive.set(true);
      pump();
    });
  }

  function sweepLater(): void {
    const everyMs = Math.max(10, Math.min(idleMs, maxAgeMs) / 4);
    if (sweep === undefined && everyMs < Infinity && idle.length > 0 && !isClosed) sweep = clock.after(everyMs, sweepNow);
  }

  function sweepNow(): void {
    sweep = undefined;
    const now = clock.monotonic();
    let spare = open() - destroying - min;
    const kept: Entry<T>[] = [];
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
    for (const waiter of waiters) refuse(waiter, closed());
    keepAlive.set(true);
    for (const controller of creates) controller.abort();
    for (const entry of idle.splice(0)) void destroy(entry.value);
    await quiet(timeoutMs);
    const missing = [...leaked, ...[...loans].map(holderOf)];
    for (const loan of loans) {
      forgotten.unregister(loan);
      void destroy(loan.entry.value);
    }
    loans.clear();
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
    const held = [...loans].map(holderOf).map(({ holder, heldMs }) => `"${safeText(holder, 80)}" for ${Math.round(heldMs)} ms`);
    const more = held.length > holdersNamed ? ` and ${held.length - holdersNamed} more` : "";
    const holders = held.length === 0 ? "none is held" : `held by ${held.slice(0, holdersNamed).join(", ")}${more}`;
    const opening = creates.size === 0 ? "" : `, ${creates.size} being opened`;
    return new WaybillError("POOL_TIMEOUT", `pool "${name}": none of ${max} came free in ${waitedMs} ms; ${holders}${opening}`);
  }
  const slowCreate = (): WaybillError => new WaybillError("CONNECTION", `pool "${name}": opening one took longer than ${acquireMs} ms`);
  const closed = (): WaybillError => new WaybillError("CLOSED", `pool "${name}" is closed`);
  const aborted = (): WaybillError => new WaybillError("ABORTED", `the signal fired while waiting for pool "${name}"`);

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
      held: [...loans].map(holderOf),
      leaked: [...leaked],
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
