import { orderOf } from "./seed.ts";
import type { Order } from "./contracts.ts";

export interface GeneratorOptions {
  readonly seed: number;
  /** Number of the first order: those before it are in the books already. */
  readonly from: number;
  /** How many; undefined: until the signal fires. */
  readonly count: number | undefined;
  /** Per second; undefined: as fast as they are taken. 0: none, until the signal fires. */
  readonly ratePerSecond: number | undefined;
  readonly signal: AbortSignal;
}

/** After a stall it catches up by so much at most, and does not make a flood of what it missed. */
const catchUpMs = 1000;

/** The same seed gives the same orders. Ends when the signal fires. */
export async function* generate(options: GeneratorOptions): AsyncGenerator<Order> {
  const { seed, from, count, ratePerSecond, signal } = options;
  if (ratePerSecond === 0) return fired(signal);
  const gapMs = ratePerSecond === undefined ? 0 : 1000 / ratePerSecond;
  let dueMs = performance.now();
  const last = count ?? Number.POSITIVE_INFINITY;
  for (let made = 0; !signal.aborted && made < last; made++) {
    if (gapMs > 0) {
      dueMs = Math.max(dueMs, performance.now() - catchUpMs);
      await sleepUntil(dueMs, signal);
      if (signal.aborted) return;
      dueMs += gapMs;
    }
    yield orderOf(seed, from + made);
  }
}

export function fired(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/** Resolves at that time of `performance.now()`, or when the signal fires. */
export function sleepUntil(timeMs: number, signal: AbortSignal): Promise<void> {
  const delayMs = timeMs - performance.now();
  if (delayMs < 1 || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, delayMs);
    signal.addEventListener("abort", end, { once: true });
  });
}
