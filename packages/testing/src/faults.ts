import { assertOptions, durationMs, WaybillError, type Duration, type ObjectSpec, type SpecFor } from "@waybill/core";

/** What goes wrong, each with a probability from 0 to 1. The seed decides when. */
export interface Faults {
  /** A published message is stored twice, as after a confirm that was lost. */
  readonly duplicates?: number;
  /** A delivery waits until a later one has overtaken it, where the transport does not promise the order. */
  readonly reorder?: number;
  /** A delivery waits for up to `maxDelay`. */
  readonly delay?: number;
  /** Default 5 s. */
  readonly maxDelay?: Duration;
  /** The process dies at a crash point: before a call into the transport or a store takes effect, or before its answer comes. */
  readonly crash?: number;
  /** Deaths by `crash`. Default 3, so that the rest can be done. */
  readonly maxCrashes?: number;
  /** The process dies at exactly these crash points, counted from 1. */
  readonly crashAt?: number | readonly number[];
}

export interface FaultSettings {
  readonly duplicates: number;
  readonly reorder: number;
  readonly delay: number;
  readonly maxDelayMs: number;
  readonly crash: number;
  readonly maxCrashes: number;
  readonly crashAt: ReadonlySet<number>;
}

const probability = { type: "number", min: 0, max: 1 } as const;
const point = { type: "integer", min: 1 } as const;
const faultSpec: ObjectSpec & SpecFor<Faults> = {
  duplicates: probability,
  reorder: probability,
  delay: probability,
  maxDelay: { type: "duration", min: 1 },
  crash: probability,
  maxCrashes: { type: "integer", min: 0 },
  crashAt: { type: "either", of: [point, { type: "array", of: point }] },
};

/** @throws `CONFIG` */
export function readFaults(faults: Faults): FaultSettings {
  assertOptions(faults, faultSpec, "faults");
  const { crashAt = [] } = faults;
  return {
    duplicates: faults.duplicates ?? 0,
    reorder: faults.reorder ?? 0,
    delay: faults.delay ?? 0,
    maxDelayMs: durationMs(faults.maxDelay ?? "5s", "faults.maxDelay"),
    crash: faults.crash ?? 0,
    maxCrashes: faults.maxCrashes ?? 3,
    crashAt: new Set(typeof crashAt === "number" ? [crashAt] : crashAt),
  };
}

/** What `WAYBILL_TEST_SEED` says: a seed, or a seed and a crash point as in `42:7`. */
export interface Replay {
  readonly seed: number;
  readonly crashAt: number | undefined;
}

export const seedVariable = "WAYBILL_TEST_SEED";

/** Undefined where it is not set. @throws `CONFIG` */
export function readReplay(text: string | undefined = process.env[seedVariable]): Replay | undefined {
  if (text === undefined || text === "") return undefined;
  const parts = /^(\d{1,10})(?::(\d{1,9}))?$/.exec(text);
  if (parts === null)
    throw new WaybillError("CONFIG", `${seedVariable}: expected a seed such as 42, or a seed and a crash point such as 42:7`);
  return { seed: Number(parts[1]), crashAt: parts[2] === undefined ? undefined : Number(parts[2]) };
}
