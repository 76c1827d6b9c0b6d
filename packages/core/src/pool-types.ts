import type { Clock } from "./clock.ts";
import type { SpecFor } from "./config.ts";
import type { Duration } from "./duration.ts";

export interface PoolOptions<T> {
  /** For errors and statistics. */
  readonly name: string;
  /** Opens one. When the signal fires nobody waits for it any longer: give up; what still comes is destroyed. */
  readonly create: (options: { readonly signal: AbortSignal }) => Promise<T> | T;
  readonly destroy: (value: T) => Promise<void> | void;
  /** Before an idle one is handed out. False, a throw, or no answer within `acquireTimeout`: it is destroyed, and another one taken. */
  readonly check?: (value: T) => Promise<boolean> | boolean;
  /** Open at once at most, those that are being opened or destroyed included. */
  readonly max: number;
  /** How many `fill` opens, and how many idle ones stay when their `idleTimeout` is over. Default 0. */
  readonly min?: number;
  /** For an acquire, and for opening or checking one. */
  readonly acquireTimeout: Duration;
  /** Idle for so long, it is destroyed. Default: never. */
  readonly idleTimeout?: Duration;
  /** So old, it is destroyed when it is next idle. Default: never. */
  readonly maxAge?: Duration;
  /** For destroying one; then its place is free, whatever became of it. Default 5 s. */
  readonly destroyTimeout?: Duration;
  readonly clock?: Clock;
}

export interface AcquireOptions {
  /** Gives up waiting: `ABORTED`. */
  readonly signal?: AbortSignal;
  /** Who has it: named when others wait in vain, and when it is never returned. */
  readonly holder?: string;
  /** Instead of the pool's `acquireTimeout`. */
  readonly timeout?: Duration;
}

/** `await using lease = await pool.acquire()` returns it at the end of the block. */
export interface Lease<T> extends AsyncDisposable {
  readonly value: T;
  /** Back to the pool. Harmless twice. */
  release(): void;
  /** It is broken: destroyed instead. Harmless after `release`. */
  discard(): void;
}

export interface Holder {
  readonly holder: string;
  readonly heldMs: number;
}

export interface PoolStats {
  readonly open: number;
  readonly idle: number;
  readonly opening: number;
  readonly waiting: number;
  /** Oldest first. */
  readonly held: readonly Holder[];
  /** Leases that were garbage before they were returned (the last 20), their values destroyed. */
  readonly leaked: readonly Holder[];
  readonly created: number;
  readonly failedCreates: number;
  readonly failedChecks: number;
}

/** A bounded set of things that are costly to open: connections, channels, file handles. */
export interface ConnectionPool<T> extends AsyncDisposable {
  /** Rejects with `POOL_TIMEOUT` (naming who holds them, and for how long), `ABORTED`, `CLOSED`, or the error of `create`. */
  acquire(options?: AcquireOptions): Promise<Lease<T>>;
  /** Opens up to `min`; rejects with the first error of `create`. */
  fill(): Promise<void>;
  stats(): PoolStats;
  /**
   * Hands out nothing more, waits for the leases until `timeout` (default 5 s) is over, destroys all, those that were not returned
   * too. Resolves with who did not return theirs. Harmless twice.
   */
  close(options?: { readonly timeout?: Duration }): Promise<readonly Holder[]>;
}

export const poolSpec: SpecFor<PoolOptions<unknown>> = {
  name: { type: "string", required: true, minLength: 1 },
  create: { type: "function", required: true },
  destroy: { type: "function", required: true },
  check: { type: "function" },
  max: { type: "integer", required: true, min: 1, max: 1_000_000 },
  min: { type: "integer", min: 0, max: 1_000_000 },
  acquireTimeout: { type: "duration", required: true, min: 1 },
  idleTimeout: { type: "duration", min: 1 },
  maxAge: { type: "duration", min: 1 },
  destroyTimeout: { type: "duration", min: 1 },
  clock: { type: "shape", methods: ["monotonic", "after"], name: "a Clock" },
};
