import { sleepUntil } from "./generator.ts";

export interface FinishOptions {
  /** Orders that are neither shipped nor dead-lettered, at little cost; it may be wrong when effects are applied twice. */
  estimate(): Promise<number>;
  /** The same, counted. */
  open(): Promise<number>;
  /** Whether every queue and the outbox is empty, as far as anybody can tell. */
  empty(): Promise<boolean>;
  /** Anything that changes while work is done. */
  progress(): string;
  /** Fires when waiting is over for another reason. */
  readonly signal: AbortSignal;
}

/** `done`: every order has ended. `quiet`: nothing moves any more and queues are empty. `stuck`: nothing moves, and queues are not empty. */
export type Ending = "done" | "quiet" | "stuck" | "stopped";

const lookMs = 150;
const quietMs = 3000;
const stuckMs = 60_000;
/** After the last order has ended: for acknowledgements under way, and for what a dead relay still held. */
const emptyMs = 45_000;

/** Waits until all orders have ended, or until there is nothing left to wait for. */
export async function untilFinished(options: FinishOptions): Promise<Ending> {
  const { signal } = options;
  let last = "";
  let changedAt = performance.now();
  let doneAt: number | undefined;
  while (!signal.aborted) {
    const now = options.progress();
    if (now !== last) {
      last = now;
      changedAt = performance.now();
    }
    const stillMs = performance.now() - changedAt;
    // Counting is worth it only when it may be over.
    const open = (await options.estimate()) > 0 && stillMs < quietMs ? undefined : await options.open();
    const empty = open !== undefined && (await options.empty());
    if (open === 0) {
      doneAt ??= performance.now();
      if (empty) return "done";
      if (performance.now() - doneAt > emptyMs) return "stuck";
    } else {
      doneAt = undefined;
      if (stillMs >= quietMs && empty) return "quiet";
      if (stillMs > stuckMs) return "stuck";
    }
    await sleepUntil(performance.now() + lookMs, signal);
  }
  return "stopped";
}
