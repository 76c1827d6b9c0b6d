import { systemClock, type Clock } from "./clock.ts";
import { assertOptions, type SpecFor } from "./config.ts";
import { durationMs, type Duration } from "./duration.ts";
import { WaybillError } from "./errors.ts";

export type CircuitState = "closed" | "open" | "half-open";

export interface CircuitBreakerOptions {
  /** Opens when at least this part of the last calls failed, above 0 up to 1. Default 0.5. */
  readonly failureRate?: number;
  /** How many of the last calls are looked at. Default 20. */
  readonly window?: number;
  /** Does not open before this many. Default: half of `window`. */
  readonly minCalls?: number;
  /** How long nothing is let through. Default 30 s. */
  readonly openFor?: Duration;
  /** How many calls are then let through; all of them well closes it, one failure opens it again. Default 3. */
  readonly trials?: number;
  /** Told at every change. Must not throw. */
  readonly onChange?: (state: CircuitState) => void;
  readonly clock?: Clock;
}

/** Counts calls and says when to leave off. No timer, and no allocation per call. ("Release It!", M. Nygard, 2007.) */
export interface CircuitBreaker {
  readonly state: CircuitState;
  /** Rises with every change: give it back to `ended` as it was when the call started. */
  readonly generation: number;
  /** 0: a call may start now. Else ask again after so many ms, or when a call has ended. Changes nothing. */
  waitMs(): number;
  /** A call starts, after `waitMs` was 0. */
  started(): void;
  /** A call ended. Of an older generation it tells nothing of now, and is not counted. */
  ended(ok: boolean, generation?: number): void;
  /** Does the work, or throws `CIRCUIT_OPEN`. What `isFailure` says no to is thrown on, and counted as going well. */
  run<T>(work: () => Promise<T>, isFailure?: (error: unknown) => boolean): Promise<T>;
}

const spec: SpecFor<CircuitBreakerOptions> = {
  failureRate: { type: "number", min: 0.001, max: 1 },
  window: { type: "integer", min: 1, max: 10_000 },
  minCalls: { type: "integer", min: 1, max: 10_000 },
  openFor: { type: "duration", min: 1 },
  trials: { type: "integer", min: 1, max: 10_000 },
  onChange: { type: "function" },
  clock: { type: "shape", methods: ["monotonic"], name: "a Clock" },
};

/** Throws `CONFIG`. */
export function createCircuitBreaker(options: CircuitBreakerOptions = {}): CircuitBreaker {
  assertOptions(options, spec, "circuitBreaker");
  const { failureRate = 0.5, window = 20, trials = 3, onChange, clock = systemClock } = options;
  const minCalls = Math.min(options.minCalls ?? Math.ceil(window / 2), window);
  const openForMs = durationMs(options.openFor ?? "30s", "circuitBreaker.openFor");

  /** 1 for each of the last calls that failed; a ring. */
  const failed = new Uint8Array(window);
  let calls = 0;
  let failures = 0;
  let state: CircuitState = "closed";
  let generation = 0;
  /** open: until when. half-open: until when trials that have not ended are waited for. */
  let until = 0;
  let tried = 0;
  let wentWell = 0;

  function change(to: CircuitState): void {
    state = to;
    generation += 1;
    if (to === "closed") {
      calls = 0;
      failures = 0;
    } else {
      tried = 0;
      wentWell = 0;
      until = clock.monotonic() + openForMs;
    }
    onChange?.(to);
  }

  function count(ok: boolean): void {
    const at = calls % window;
    if (calls >= window) failures -= failed[at] ?? 0;
    failed[at] = ok ? 0 : 1;
    failures += ok ? 0 : 1;
    calls += 1;
    const seen = Math.min(calls, window);
    if (seen >= minCalls && failures / seen >= failureRate) change("open");
  }

  function waitMs(): number {
    if (state === "closed" || (state === "half-open" && tried < trials)) return 0;
    return Math.max(0, Math.ceil(until - clock.monotonic()));
  }

  function started(): void {
    if (state === "closed") return;
    // A trial that never ends must not keep it half-open for ever: then there is a new round of trials.
    if (state === "open" || tried >= trials) change("half-open");
    tried += 1;
  }

  function ended(ok: boolean, of = generation): void {
    if (of !== generation) return;
    if (state === "closed") return count(ok);
    if (state === "open") return;
    if (!ok) return change("open");
    wentWell += 1;
    if (wentWell >= trials) change("closed");
  }

  return {
    get state() {
      return state;
    },
    get generation() {
      return generation;
    },
    waitMs,
    started,
    ended,
    async run(work, isFailure = () => true) {
      const wait = waitMs();
      if (wait > 0) throw new WaybillError("CIRCUIT_OPEN", `the circuit breaker is ${state}: the next call is let through in ${wait} ms`);
      started();
      const mine = generation;
      try {
        const result = await work();
        ended(true, mine);
        return result;
      } catch (error) {
        ended(!isFailure(error), mine);
        throw error;
      }
    },
  };
}
