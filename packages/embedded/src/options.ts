import { assertOptions, durationMs, type Duration, type SpecFor } from "@waybill/core";

export interface EmbeddedOptions {
  /** The file; it is made if it is missing (mode 0600), its directory is not. Not a symbolic link, and not on a network file system. */
  readonly path: string;
  /** How long messages are kept that no group needs any more. Unsettled ones are never deleted. Default 1 day. */
  readonly retention?: Duration;
  /** Within it a repeated id is stored once. 0 ms turns it off. Default 2 min. */
  readonly deduplicationWindow?: Duration;
  /** Ids remembered at most: above about `deduplicationIds` / window messages a second the window is shorter. Default 1,000,000. */
  readonly deduplicationIds?: number;
  /** Default 16 MiB. */
  readonly maxBodyBytes?: number;
  /** The file grows no further; then publishing is refused with `DISK_FULL` until settled messages are deleted. Default: no bound. */
  readonly maxFileBytes?: number;
  /** How long a publish waits while other processes hold the write lock. Then `BUSY`. Default 10 s. */
  readonly lockTimeout?: Duration;
  /** How often other processes' commits are looked for while there is traffic; four times that when idle. Default 2 ms. */
  readonly pollEvery?: Duration;
  /** How long a handler of an exactly-once subscription may hold the write lock. Then `TX_TOO_LONG`. Default 1 s. */
  readonly transactionLimit?: Duration;
  /** For tests alone: what goes wrong on purpose. */
  readonly faults?: Faults;
}

export interface EmbeddedStoreOptions extends Pick<
  EmbeddedOptions,
  "path" | "lockTimeout" | "transactionLimit" | "maxFileBytes" | "faults"
> {}

/** For tests alone. */
export interface Faults {
  /**
   * Asked before each commit of handlers: `before` fails it without effect (definite); `after` lets it take effect and says that
   * nobody knows (`TX_UNKNOWN`).
   */
  readonly commit?: () => "before" | "after" | undefined;
  /** While it answers a promise, nothing is heard of the worker: what it does takes effect, and no answer comes. */
  readonly held?: () => Promise<void> | undefined;
}

/** Every option with its value. */
export interface Settings {
  readonly path: string;
  readonly retentionMs: number;
  readonly deduplicationMs: number;
  readonly deduplicationIds: number;
  readonly maxBodyBytes: number;
  readonly maxFileBytes: number | undefined;
  readonly lockTimeoutMs: number;
  readonly pollMs: number;
  readonly transactionLimitMs: number;
  readonly faults: Faults;
}

const mebibyte = 1024 * 1024;

const storeSpec = {
  path: { type: "string", minLength: 1, required: true },
  maxFileBytes: { type: "integer", min: mebibyte },
  lockTimeout: { type: "duration", min: 10, max: 600_000 },
  transactionLimit: { type: "duration", min: 1, max: 600_000 },
  faults: { type: "object", keys: { commit: { type: "function" }, held: { type: "function" } } },
} as const;

const spec: SpecFor<EmbeddedOptions> = {
  ...storeSpec,
  retention: { type: "duration" },
  deduplicationWindow: { type: "duration", max: 86_400_000 },
  deduplicationIds: { type: "integer", min: 1000, max: 50_000_000 },
  // SQLite keeps no value above 10^9 bytes, and the headers need room.
  maxBodyBytes: { type: "integer", min: 1, max: 512 * mebibyte },
  pollEvery: { type: "duration", min: 1, max: 1000 },
};
const onlyStoreSpec: SpecFor<EmbeddedStoreOptions> = storeSpec;

/** @throws `CONFIG` */
export function readOptions(options: EmbeddedOptions): Settings {
  assertOptions(options, spec, "embedded");
  return settingsOf(options);
}

/** @throws `CONFIG` */
export function readStoreOptions(options: EmbeddedStoreOptions): Settings {
  assertOptions(options, onlyStoreSpec, "embeddedStore");
  return settingsOf(options);
}

function settingsOf(options: EmbeddedOptions): Settings {
  return {
    path: options.path,
    retentionMs: durationMs(options.retention ?? "1d", "retention"),
    deduplicationMs: durationMs(options.deduplicationWindow ?? "2m", "deduplicationWindow"),
    deduplicationIds: options.deduplicationIds ?? 1_000_000,
    maxBodyBytes: options.maxBodyBytes ?? 16 * mebibyte,
    maxFileBytes: options.maxFileBytes,
    lockTimeoutMs: durationMs(options.lockTimeout ?? "10s", "lockTimeout"),
    pollMs: durationMs(options.pollEvery ?? 2, "pollEvery"),
    transactionLimitMs: durationMs(options.transactionLimit ?? "1s", "transactionLimit"),
    faults: options.faults ?? {},
  };
}
