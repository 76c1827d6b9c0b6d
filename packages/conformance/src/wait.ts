import { setTimeout as after } from "node:timers/promises";

/** Resolves when `condition` holds; rejects naming `what` when `waitMs` are over. */
export async function until(what: string, waitMs: number, condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + waitMs;
  for (let step = 0; ; step += 1) {
    if (await condition()) return;
    if (performance.now() > end) throw new Error(`${what}: not within ${waitMs} ms`);
    // The first looks are quick, since most conditions hold after a turn or two of the loop.
    await (step < 20 ? new Promise(setImmediate) : after(step < 60 ? 2 : 10));
  }
}

/** The outcome of `promise`, or an error naming `what` when `waitMs` are over. */
export async function within<T>(what: string, waitMs: number, promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`${what}: not within ${waitMs} ms`)), waitMs);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
