import { constants } from "node:os";
import { durationMs, type Duration } from "./duration.ts";

/** A bus, or whatever else drains: several of them as `{ close: (options) => Promise.all([a.close(options), b.close(options)]) }`. */
export interface Closable {
  close(options: { readonly drain: Duration }): Promise<unknown>;
}

export interface RunUntilSignalOptions {
  /** For what is in hand. Default 30 s; keep it below the time that your supervisor waits before it kills. */
  readonly drain?: Duration;
  /** Default SIGINT and SIGTERM. */
  readonly signals?: readonly NodeJS.Signals[];
  /** Told at the first signal, and at the second. */
  readonly onSignal?: (signal: NodeJS.Signals, count: 1 | 2) => void;
  /** Ends the run as a first signal does. */
  readonly signal?: AbortSignal;
}

/** What a close without draining may take before the process ends all the same. */
const hurryMs = 1_000;

/**
 * Keeps the process running until SIGINT or SIGTERM, then drains and closes. Resolves when that is done, with its listeners removed;
 * then the process ends by itself as soon as nothing else keeps it. If the close fails it rejects, and `process.exitCode` is 1.
 * A second signal ends the process at once (a second for a close without draining), with 128 + the signal's number.
 */
export async function runUntilSignal(closable: Closable, options: RunUntilSignalOptions = {}): Promise<void> {
  const { signals = ["SIGINT", "SIGTERM"], onSignal, signal } = options;
  const drain = durationMs(options.drain ?? "30s", "runUntilSignal.drain");
  const asked = Promise.withResolvers<void>();
  let count = 0;

  const onProcessSignal = (name: NodeJS.Signals): void => {
    count += 1;
    if (count > 2) return;
    onSignal?.(name, count === 1 ? 1 : 2);
    if (count === 1) asked.resolve();
    else void endNow(closable, name);
  };
  const onAbort = (): void => {
    count = Math.max(count, 1);
    asked.resolve();
  };
  // A listener for signals does not keep a process running, and neither need a transport.
  const keepAlive = setInterval(() => {}, 2 ** 30);
  for (const name of signals) process.on(name, onProcessSignal);
  if (signal?.aborted === true) onAbort();
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    await asked.promise;
    await closable.close({ drain });
  } catch (error) {
    process.exitCode = 1;
    throw error;
  } finally {
    clearInterval(keepAlive);
    signal?.removeEventListener("abort", onAbort);
    for (const name of signals) process.off(name, onProcessSignal);
  }
}

async function endNow(closable: Closable, name: NodeJS.Signals): Promise<void> {
  process.exitCode = 128 + constants.signals[name];
  const hurry = setTimeout(() => process.exit(), hurryMs);
  try {
    await closable.close({ drain: 0 });
  } catch {
    // The first close tells it, if there is still somebody to tell.
  }
  clearTimeout(hurry);
  process.exit();
}
