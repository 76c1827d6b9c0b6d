import type { Clock } from "../clock.ts";
import { assertOptions, type ObjectSpec, type SpecFor } from "../config.ts";
import { durationMs, type Duration } from "../duration.ts";
import { systemClock } from "../clock.ts";

interface SharedOptions {
  /** Bodies are bytes, made and read by the core, as on a wire. Default false: they travel by reference. */
  readonly encode?: boolean;
  /** Freezes bodies (plain objects and arrays, all the way down) when they are published. Default false. */
  readonly freeze?: boolean;
  /** Of a body that can be weighed (bytes, a string). Default 16 MiB. */
  readonly maxBodyBytes?: number;
  readonly clock?: Clock;
}

export interface MemoryQueueOptions extends SharedOptions {
  readonly shape?: "queue";
  /** Unsettled messages that a group keeps; further ones are refused, `BUFFER_FULL`. Default 1,000,000. */
  readonly maxDepth?: number;
  /** How long a published id is remembered, so that a repeat is stored once. Default 0: not at all. */
  readonly deduplicationWindow?: Duration;
}

export interface MemoryLogOptions extends SharedOptions {
  readonly shape: "log";
  /** Of each topic. Default 4. */
  readonly partitions?: number;
  /** Messages that a partition keeps; the oldest go. Default 100,000. */
  readonly retain?: number;
  /** How long a member may take to give up a partition. Default 5 s. */
  readonly revocation?: Duration;
}

export interface MemoryPushOptions extends SharedOptions {
  readonly shape: "push";
  /** Messages that wait for a subscriber. Default 1,000. */
  readonly buffer?: number;
  /** What is dropped (and counted) when the buffer is full. Default `drop-newest`. */
  readonly overflow?: Overflow;
}

export type Overflow = "drop-newest" | "drop-oldest";
export type MemoryOptions = MemoryQueueOptions | MemoryLogOptions | MemoryPushOptions;

/** Of shape `log` alone. */
export interface MemoryPublishNative {
  /** Goes before the key. */
  readonly partition?: number;
}

/** Of shape `push` alone. */
export interface MemorySubscribeNative {
  readonly buffer?: number;
  readonly overflow?: Overflow;
}

/** Every option with its value. */
export interface Settings {
  readonly shape: "queue" | "log" | "push";
  readonly encode: boolean;
  readonly freeze: boolean;
  readonly maxBodyBytes: number;
  readonly clock: Clock;
  readonly maxDepth: number;
  readonly deduplicationMs: number;
  readonly partitions: number;
  readonly retain: number;
  readonly revocationMs: number;
  readonly buffer: number;
  readonly overflow: Overflow;
}

const shared = {
  encode: { type: "boolean" },
  freeze: { type: "boolean" },
  maxBodyBytes: { type: "integer", min: 1 },
  clock: { type: "shape", methods: ["now", "monotonic", "after"], name: "a clock" },
} as const;

export const overflowSpec = { type: "enum", values: ["drop-newest", "drop-oldest"] } as const;
export const bufferSpec = { type: "integer", min: 1, max: 1_000_000 } as const;

const queueSpec: SpecFor<MemoryQueueOptions> = {
  ...shared,
  shape: { type: "enum", values: ["queue"] },
  maxDepth: { type: "integer", min: 1 },
  deduplicationWindow: { type: "duration" },
};
const logSpec: SpecFor<MemoryLogOptions> = {
  ...shared,
  shape: { type: "enum", values: ["log"], required: true },
  partitions: { type: "integer", min: 1, max: 1_000 },
  retain: { type: "integer", min: 1 },
  revocation: { type: "duration" },
};
const pushSpec: SpecFor<MemoryPushOptions> = {
  ...shared,
  shape: { type: "enum", values: ["push"], required: true },
  buffer: bufferSpec,
  overflow: overflowSpec,
};
const anyShape: ObjectSpec = { ...queueSpec, ...logSpec, ...pushSpec, shape: { type: "enum", values: ["queue", "log", "push"] } };

/** @throws `CONFIG` */
export function readOptions(options: MemoryOptions): Settings {
  const specs: Readonly<Record<string, ObjectSpec>> = { queue: queueSpec, log: logSpec, push: pushSpec };
  assertOptions(options, specs[options.shape ?? "queue"] ?? anyShape, "memory");
  // Each is checked by now, and those of the other shapes are not there.
  const given = options as SharedOptions & Partial<Omit<MemoryQueueOptions & MemoryLogOptions & MemoryPushOptions, "shape">>;
  return {
    shape: options.shape ?? "queue",
    encode: given.encode ?? false,
    freeze: given.freeze ?? false,
    maxBodyBytes: given.maxBodyBytes ?? 16 * 1024 * 1024,
    clock: given.clock ?? systemClock,
    maxDepth: given.maxDepth ?? 1_000_000,
    deduplicationMs: durationMs(given.deduplicationWindow ?? 0, "memory.deduplicationWindow"),
    partitions: given.partitions ?? 4,
    retain: given.retain ?? 100_000,
    revocationMs: durationMs(given.revocation ?? "5s", "memory.revocation"),
    buffer: given.buffer ?? 1_000,
    overflow: given.overflow ?? "drop-newest",
  };
}
