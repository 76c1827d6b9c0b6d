import { systemClock, type Clock } from "./clock.ts";
import { assertOptions, type SpecFor } from "./config.ts";

export interface RateLimitOptions {
  readonly perSecond: number;
  /** How many may start at once after a pause. Default: a tenth of a second's worth, at least 1. */
  readonly burst?: number;
  readonly clock?: Clock;
}

/** A token bucket. No timer: the caller waits. */
export interface RateLimit {
  /** How long until `count` (default 1) may start; 0 for now. Takes nothing. More than `burst` are treated as `burst`. */
  waitMs(count?: number): number;
  /** Takes them in any case, and answers how long to wait before starting: callers that wait so long keep the rate together. */
  take(count?: number): number;
  /** For those that were taken and never started. */
  giveBack(count?: number): void;
}

const spec: SpecFor<RateLimitOptions> = {
  perSecond: { type: "number", required: true, min: 0.001, max: 1e9 },
  burst: { type: "number", min: 1, max: 1e9 },
  clock: { type: "shape", methods: ["monotonic"], name: "a Clock" },
};

/** Throws `CONFIG`. */
export function createRateLimit(options: RateLimitOptions): RateLimit {
  assertOptions(options, spec, "rateLimit");
  const { perSecond, burst = Math.max(1, perSecond / 10), clock = systemClock } = options;
  const perMs = perSecond / 1_000;
  let tokens = burst;
  let filledAt = clock.monotonic();

  function fill(): void {
    const now = clock.monotonic();
    tokens = Math.min(burst, tokens + (now - filledAt) * perMs);
    filledAt = now;
  }
  // Adding up parts of a token leaves crumbs: waiting exactly so long must be long enough.
  const msFor = (missing: number): number => (missing <= 1e-9 ? 0 : missing / perMs);

  return {
    waitMs(count = 1) {
      fill();
      return msFor(Math.min(count, burst) - tokens);
    },
    take(count = 1) {
      fill();
      tokens -= count;
      return msFor(-tokens);
    },
    giveBack(count = 1) {
      fill();
      tokens = Math.min(burst, tokens + count);
    },
  };
}
