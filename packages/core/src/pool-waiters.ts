import type { Clock, Timer } from "./clock.ts";
import type { KeepAlive } from "./keep-alive.ts";
import type { Lease } from "./pool-types.ts";

/** Waits for a lease. */
export interface Waiter<T> {
  readonly holder: string;
  readonly resolve: (lease: Lease<T>) => void;
  readonly reject: (error: unknown) => void;
}

/** Who waits for a lease, in the order of the calls. They keep the process alive. */
export interface Waiters<T> {
  readonly size: number;
  /** Rejects when its time is over or its signal fires. */
  wait(holder: string, limitMs: number, signal: AbortSignal | undefined): Promise<Lease<T>>;
  /** Takes out the one that waits longest: it is for the caller to answer it. */
  next(): Waiter<T> | undefined;
}

export interface WaitersOptions {
  readonly clock: Clock;
  readonly keepAlive: KeepAlive;
  readonly tooLate: (waitedMs: number) => Error;
  readonly aborted: () => Error;
}

interface OwnWaiter<T> extends Waiter<T> {
  readonly timer: Timer;
  readonly unlisten: () => void;
}

export function createWaiters<T>({ clock, keepAlive, tooLate, aborted }: WaitersOptions): Waiters<T> {
  const waiters = new Set<OwnWaiter<T>>();

  function leave(waiter: OwnWaiter<T>): void {
    waiters.delete(waiter);
    keepAlive.set(waiters.size > 0);
    waiter.timer.cancel();
    waiter.unlisten();
  }

  function refuse(waiter: OwnWaiter<T>, error: Error): void {
    leave(waiter);
    waiter.reject(error);
  }

  return {
    get size() {
      return waiters.size;
    },
    wait(holder, limitMs, signal) {
      return new Promise((resolve, reject) => {
        const onAbort = (): void => refuse(waiter, aborted());
        const waiter: OwnWaiter<T> = {
          holder,
          resolve,
          reject,
          timer: clock.after(limitMs, () => refuse(waiter, tooLate(limitMs))),
          unlisten: () => signal?.removeEventListener("abort", onAbort),
        };
        signal?.addEventListener("abort", onAbort, { once: true });
        waiters.add(waiter);
        keepAlive.set(true);
      });
    },
    next() {
      const [waiter] = waiters;
      if (waiter !== undefined) leave(waiter);
      return waiter;
    },
  };
}
