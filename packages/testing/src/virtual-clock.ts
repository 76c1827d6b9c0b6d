import { createVirtualClock, durationMs, type Clock, type Duration } from "@waybill/core";
import { settle } from "./settle.ts";

/** A clock that stands still until it is told to go on. */
export interface TestClock extends Clock {
  /** Goes on. What falls due on the way runs in its order, at its time; after each, all that can go on does. */
  advance(by: Duration): Promise<void>;
  /** To the next timer, if it is due within so many ms; false if it is not, and then the clock stays. */
  step(withinMs: number): boolean;
  /** Sets the wall clock, as an operator or NTP would; waits and deadlines do not notice. */
  setNow(ms: number): void;
  /** Timers that have not run. */
  readonly pending: number;
}

export interface TestClockOptions {
  /** Where the wall clock starts, ms since the epoch. Default 1,000,000,000,000, which is in 2001. */
  readonly now?: number;
  /** Waited for after each timer. Default: some turns of the event loop. */
  readonly settled?: () => Promise<void>;
}

export function virtualClock(options: TestClockOptions = {}): TestClock {
  const { settled = settle } = options;
  const clock = createVirtualClock({ now: options.now ?? 1e12 });

  function step(withinMs: number): boolean {
    const { nextAt } = clock;
    if (nextAt === undefined || nextAt > clock.monotonic() + withinMs) return false;
    clock.tick(Math.max(0, nextAt - clock.monotonic()));
    return true;
  }

  return {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    after: (delayMs, run) => clock.after(delayMs, run),
    setNow: (ms) => clock.setNow(ms),
    step,
    async advance(by) {
      const end = clock.monotonic() + durationMs(by, "advance");
      await settled();
      while (step(end - clock.monotonic())) await settled();
      clock.tick(end - clock.monotonic());
      await settled();
    },
    get pending() {
      return clock.pending;
    },
  };
}
