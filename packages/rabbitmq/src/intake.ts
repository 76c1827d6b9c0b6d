import { WaybillError, type Delivery } from "@waybill/core";

/** How deliveries reach the one who iterates: taken when asked for, or when something comes while somebody waits. */
export interface Intake {
  readonly deliveries: AsyncIterable<readonly Delivery[]>;
  /** Something may be ready. What comes in one turn is handed out together. */
  wake(): void;
  end(): void;
}

type Result = IteratorResult<readonly Delivery[], undefined>;
const finished: Result = Object.freeze({ done: true, value: undefined });
/** Without a wait for the broker in between: then the loop has its turn. */
const budgetMs = 2;

/** `stopped`: the iteration was ended from outside. */
export function createIntake(take: () => readonly Delivery[], stopped: () => void): Intake {
  let waiter: ((result: Result) => void) | undefined;
  let ended = false;
  let used = false;
  let scheduled = false;
  let turnBegan = 0;

  function end(): void {
    ended = true;
    waiter?.(finished);
    waiter = undefined;
  }

  function give(): void {
    scheduled = false;
    if (waiter === undefined) return;
    const value = take();
    if (value.length === 0 || waiter === undefined) return;
    const answer = waiter;
    waiter = undefined;
    answer({ done: false, value });
  }

  function takeOrWait(): Promise<Result> {
    if (ended) return Promise.resolve(finished);
    const value = take();
    if (value.length > 0) return Promise.resolve({ done: false, value });
    return new Promise((resolve) => (waiter = resolve));
  }

  function isTurnOver(): boolean {
    const now = performance.now();
    if (turnBegan === 0) {
      turnBegan = now;
      setImmediate(() => (turnBegan = 0));
      return false;
    }
    return now - turnBegan > budgetMs;
  }

  const iterator: AsyncIterator<readonly Delivery[], undefined> = {
    next() {
      if (ended) return Promise.resolve(finished);
      if (waiter !== undefined) return Promise.reject(new WaybillError("BUSY", "next was called while another call of it waits"));
      if (isTurnOver()) return new Promise<void>(setImmediate).then(takeOrWait);
      return takeOrWait();
    },
    return() {
      if (!ended) {
        end();
        stopped();
      }
      return Promise.resolve(finished);
    },
  };
  return {
    deliveries: {
      [Symbol.asyncIterator]() {
        if (used) throw new WaybillError("BUSY", "a subscription is iterated once");
        used = true;
        return iterator;
      },
    },
    wake() {
      if (scheduled || waiter === undefined) return;
      scheduled = true;
      queueMicrotask(give);
    },
    end,
  };
}
