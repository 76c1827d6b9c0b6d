import type { Problem, SpecFor } from "./config.ts";
import { assertOptions, checkOptions, configError } from "./config.ts";
import type { Duration } from "./duration.ts";
import { durationMs } from "./duration.ts";
import type { ErrorCode } from "./errors.ts";
import { errorCodes, isWaybillError } from "./errors.ts";

/** How long to wait before the next attempt. Pure but for its jitter: one strategy serves any number of messages. */
export interface RetryStrategy {
  /** `attempt`: the one that has just failed, 1 for the first. Answers ms, never negative. */
  delayMs(attempt: number): number;
}

/**
 * With a computed delay d and r random in [0, 1): `none` d · `full` r·d · `equal` d/2 + r·d/2 · a fraction f from 0 to 1
 * d·(1 - f + 2·f·r). ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015.) Never above the strategy's `max`.
 */
export type Jitter = "none" | "full" | "equal" | number;

export interface JitterOptions {
  readonly jitter?: Jitter;
  /** In [0, 1); default `Math.random`. */
  readonly random?: () => number;
}
export interface ExponentialOptions extends JitterOptions {
  /** After the first attempt. */
  readonly base: Duration;
  readonly max: Duration;
  /** Default 2. */
  readonly factor?: number;
}
export interface LinearOptions extends JitterOptions {
  /** After the first attempt. */
  readonly base: Duration;
  /** More after each further one. Default: `base`. */
  readonly step?: Duration;
  readonly max: Duration;
}

const longestMs = 365 * 86_400_000;
const jitterSpec: SpecFor<JitterOptions> = {
  jitter: {
    type: "either",
    of: [
      { type: "enum", values: ["none", "full", "equal"] },
      { type: "number", min: 0, max: 1 },
    ],
  },
  random: { type: "function" },
};
const exponentialSpec: SpecFor<ExponentialOptions> = {
  base: { type: "duration", required: true, max: longestMs },
  max: { type: "duration", required: true, max: longestMs },
  factor: { type: "number", min: 1, max: 1_000 },
  ...jitterSpec,
};
const linearSpec: SpecFor<LinearOptions> = {
  base: { type: "duration", required: true, max: longestMs },
  step: { type: "duration", max: longestMs },
  max: { type: "duration", required: true, max: longestMs },
  ...jitterSpec,
};

/** base · factor^(attempt - 1), at most `max`. Jitter: `equal`, so that it spreads and yet never repeats at once. Throws `CONFIG`. */
export function exponential(options: ExponentialOptions): RetryStrategy {
  assertOptions(options, exponentialSpec, "exponential");
  const { factor = 2 } = options;
  const baseMs = durationMs(options.base, "exponential.base");
  const maxMs = maxFrom(baseMs, options.max, "exponential");
  return jittered(options, "equal", maxMs, (attempt) => baseMs * factor ** (attempt - 1));
}

/** base + step · (attempt - 1), at most `max`. Jitter: `equal`. Throws `CONFIG`. */
export function linear(options: LinearOptions): RetryStrategy {
  assertOptions(options, linearSpec, "linear");
  const baseMs = durationMs(options.base, "linear.base");
  const stepMs = options.step === undefined ? baseMs : durationMs(options.step, "linear.step");
  const maxMs = maxFrom(baseMs, options.max, "linear");
  return jittered(options, "equal", maxMs, (attempt) => baseMs + stepMs * (attempt - 1));
}

/** Always the same delay. Jitter: `none`. Throws `CONFIG`. */
export function fixed(delay: Duration, options: JitterOptions = {}): RetryStrategy {
  assertOptions(options, jitterSpec, "fixed");
  const delayMs = durationMs(delay, "fixed.delay", { max: longestMs });
  return jittered(options, "none", delayMs * 2, () => delayMs);
}

function maxFrom(baseMs: number, max: Duration, path: string): number {
  return durationMs(max, `${path}.max`, { min: baseMs });
}

function jittered(options: JitterOptions, preset: Jitter, maxMs: number, delayOf: (attempt: number) => number): RetryStrategy {
  const { jitter = preset, random = Math.random } = options;
  return {
    delayMs(attempt) {
      // An unknown count (NaN) waits like the first.
      const delay = Math.min(delayOf(attempt >= 1 ? attempt : 1), maxMs);
      if (jitter === "none") return delay;
      if (jitter === "full") return delay * random();
      if (jitter === "equal") return delay / 2 + (delay / 2) * random();
      return Math.min(delay * (1 - jitter + 2 * jitter * random()), maxMs);
    },
  };
}

/** A class of errors, or a code of `WaybillError`. */
export type ErrorMatch = (abstract new (...args: never) => unknown) | ErrorCode;

export interface RetryOptions {
  /** How often a message is tried, the first time included. */
  readonly attempts?: number;
  readonly backoff?: RetryStrategy;
  /** After the last attempt. False: it is dropped, and counted as dropped. Default true. */
  readonly deadLetter?: boolean;
  /** Errors that no retry can help: they are final at once. */
  readonly never?: readonly ErrorMatch[];
  /** Only these are retried; all others are final at once. `never` goes before it. */
  readonly only?: readonly ErrorMatch[];
  /** Every delay is waited out in the process, the key held meanwhile. Default: only where the order or the transport needs it. */
  readonly inProcess?: boolean;
}

/** `RetryOptions` with every value decided. */
export interface RetryPolicy {
  readonly attempts: number;
  readonly backoff: RetryStrategy;
  readonly deadLetter: boolean;
  readonly never: readonly ErrorMatch[];
  readonly only: readonly ErrorMatch[] | undefined;
  readonly inProcess: boolean;
}

export const retrySpec: SpecFor<RetryOptions> = {
  attempts: { type: "integer", min: 1, max: 1_000_000 },
  backoff: { type: "shape", methods: ["delayMs"], name: "a RetryStrategy" },
  deadLetter: { type: "boolean" },
  never: { type: "array", of: { type: "either", of: [{ type: "function" }, { type: "enum", values: Object.keys(errorCodes) }] } },
  only: { type: "array", of: { type: "either", of: [{ type: "function" }, { type: "enum", values: Object.keys(errorCodes) }] } },
  inProcess: { type: "boolean" },
};

/** Problems of retry options, to be told together with others. */
export function checkRetryOptions(options: unknown, path: string): readonly Problem[] {
  return checkOptions(options, retrySpec, path);
}

/** Throws `CONFIG` with all problems. `defaults.attempts` is the profile's. */
export function checkRetry(options: RetryOptions, path: string, defaults: { readonly attempts: number }): RetryPolicy {
  const problems = checkRetryOptions(options, path);
  if (problems.length > 0) throw configError(problems);
  return {
    attempts: options.attempts ?? defaults.attempts,
    backoff: options.backoff ?? exponential({ base: "200ms", max: "1m" }),
    deadLetter: options.deadLetter ?? true,
    never: options.never ?? [],
    only: options.only,
    inProcess: options.inProcess ?? false,
  };
}

/** What the message itself is to blame for: the next attempt would end the same. */
const finalCodes: readonly ErrorCode[] = [
  "CRASH_POISON",
  "DEAD_LETTER",
  "DECODE",
  "EXPIRED",
  "NAME",
  "TOO_LARGE",
  "UNKNOWN_TYPE",
  "UNKNOWN_VERSION",
  "VALIDATION",
];

/** Whether what was thrown ends the message at once, whatever attempts are left. Never throws, whatever `error` is. */
export function isFinal(policy: RetryPolicy, error: unknown): boolean {
  if (matchesAny(policy.never, error)) return true;
  if (policy.only !== undefined) return !matchesAny(policy.only, error);
  return matchesAny(finalCodes, error);
}

function matchesAny(matches: readonly ErrorMatch[], error: unknown): boolean {
  for (const match of matches) {
    if (typeof match === "string") {
      if (isWaybillError(error, match)) return true;
      continue;
    }
    try {
      if (error instanceof match) return true;
    } catch {
      // A Proxy that throws in its getPrototypeOf is of no class.
    }
  }
  return false;
}

/** The policy's delay in ms; 1 s where a strategy of the user's own throws or answers no delay. */
export function delayAfter(policy: RetryPolicy, attempt: number): number {
  try {
    const delayMs: unknown = policy.backoff.delayMs(attempt);
    if (typeof delayMs === "number" && delayMs >= 0) return Math.min(delayMs, longestMs);
  } catch {
    // Retrying at once for ever, or not at all, would both be worse than a delay that nobody asked for.
  }
  return 1_000;
}
