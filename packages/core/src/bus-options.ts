import type { BusOptions, Guarantee } from "./bus-types.ts";
import { assertOptions, profiles, type ObjectSpec, type ProfileSettings, type SpecFor } from "./config.ts";
import { durationMs } from "./duration.ts";
import { checkGroup } from "./pattern.ts";

const month = 31 * 86_400_000;

const requireSpec: SpecFor<Partial<Guarantee>> = {
  delivery: { type: "enum", values: ["at-most-once", "at-least-once"] },
  durability: { type: "enum", values: ["D0", "D1", "D2", "D3", "D4"] },
  order: { type: "enum", values: ["none", "key"] },
  effect: { type: "enum", values: ["none", "exactly-once"] },
};
const publishSpec: SpecFor<NonNullable<BusOptions["publish"]>> = {
  timeout: { type: "duration", min: 1, max: month },
  maxBuffered: { type: "integer", min: 1 },
  maxBufferedBytes: { type: "integer", min: 1 },
  maxWaiting: { type: "integer", min: 0 },
  middleware: { type: "array", of: { type: "function" } },
};
const compressionSpec: SpecFor<NonNullable<BusOptions["compression"]>> = {
  encoding: { type: "enum", values: ["gzip", "br", "zstd"], required: true },
  minBytes: { type: "integer", min: 0 },
};
const storeSpec = { type: "shape", methods: ["begin", "applied", "joins"], name: "a Store" } as const;

const busSpec: ObjectSpec & SpecFor<BusOptions> = {
  name: { type: "string", minLength: 1, maxLength: 100, required: true },
  transport: { type: "shape", methods: ["capabilities", "connect", "close", "publish", "subscribe"], name: "a Transport", required: true },
  profile: { type: "enum", values: Object.keys(profiles) },
  namespace: { type: "string", minLength: 1, maxLength: 100 },
  topology: { type: "enum", values: ["declare", "check", "none"] },
  require: { type: "object", keys: requireSpec },
  publish: { type: "object", keys: publishSpec },
  middleware: { type: "array", of: { type: "function" } },
  connectTimeout: { type: "duration", min: 1, max: month },
  codecs: { type: "array", of: { type: "shape", methods: ["encode", "decode"], name: "a Codec" } },
  compression: { type: "object", keys: compressionSpec },
  maxDecodedBytes: { type: "integer", min: 1 },
  outbox: { type: "array", of: storeSpec },
  keepInbox: { type: "duration", min: 1_000 },
  clock: { type: "shape", methods: ["now", "monotonic", "after"], name: "a Clock" },
  logger: { type: "shape", methods: ["info", "warn", "error"], name: "a logger like pino" },
};

export interface BusSettings {
  readonly profile: ProfileSettings;
  readonly topology: "declare" | "check" | "none";
  readonly connectTimeoutMs: number;
  readonly publishTimeoutMs: number;
  readonly maxBuffered: number;
  readonly maxBufferedBytes: number;
  readonly maxWaiting: number;
  readonly maxDecodedBytes: number;
  readonly keepInboxMs: number;
}

/** Throws `CONFIG` with every wrong path. */
export function checkBusOptions(options: BusOptions): BusSettings {
  assertOptions(options, busSpec, "bus");
  if (options.namespace !== undefined) checkGroup(options.namespace);
  const profile = profiles[options.profile ?? "development"];
  const publish = options.publish ?? {};
  return {
    profile,
    topology: options.topology ?? (options.profile === "production" ? "check" : "declare"),
    connectTimeoutMs:
      options.connectTimeout === undefined ? profile.connectTimeoutMs : durationMs(options.connectTimeout, "bus.connectTimeout"),
    publishTimeoutMs: durationMs(publish.timeout ?? "30s", "bus.publish.timeout"),
    maxBuffered: publish.maxBuffered ?? 10_000,
    maxBufferedBytes: publish.maxBufferedBytes ?? 32 * 1024 * 1024,
    maxWaiting: publish.maxWaiting ?? 10_000,
    maxDecodedBytes: options.maxDecodedBytes ?? 64 * 1024 * 1024,
    keepInboxMs: durationMs(options.keepInbox ?? "7d", "bus.keepInbox"),
  };
}
