/** Time as the core sees it, so that tests can run it by hand (`@waybill/testing`). */
export interface Clock {
  /** Wall clock, ms since the epoch: for what is written down. */
  now(): number;
  /** Monotonic, ms from an arbitrary start: for every wait and deadline. */
  monotonic(): number;
  /** One shot. The timer does not keep the process alive. */
  after(delayMs: number, run: () => void): Timer;
}

export interface Timer {
  /** Harmless after it has run. */
  cancel(): void;
}

export const systemClock: Clock = {
  now: Date.now,
  monotonic: () => performance.now(),
  after(delayMs, run) {
    // setTimeout treats anything above 2^31-1 as 1 ms.
    const timer = setTimeout(run, Math.min(Math.max(delayMs, 0), 2_147_483_647));
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
};
