import { WaybillError } from "../errors.ts";
import type { Delivery } from "../transport.ts";
import type { Turn } from "../turn.ts";

/** How deliveries reach the one who iterates: taken when asked for, or when something comes while somebody waits. */
export interface Intake {
  readonly deliveries: AsyncIterable<readonly Delivery[]>;
  readonly waiting: boolean;
  wake(): void;
  end(): void;
}

type Result = IteratorResult<readonly Delivery[], undefined>;
const finished: Result = Object.freeze({ done: true, value: undefined });

/** `take` is called synchronously from `next`, `wake` and never after `end`. */
export function createIntake(turn: Turn, take: () => readonly Delivery[]): Intake {
  let waiter: ((result: Result) => void) | undefined;
  let ended = false;
  let used = false;

  function end(): void {
    ended = true;
    waiter?.(finished);
    waiter = undefined;
  }

  function wake(): void {
    if (waiter === undefined) return;
    const value = take();
    if (value.length === 0) return;
    const answer = waiter;
    waiter = undefined;
    answer({ done: false, value });
  }

  function next(): Promise<Result> {
    if (ended) return Promise.resolve(finished);
    if (waiter !== undefined) return Promise.reject(new WaybillError("BUSY", "next was called while another call of it waits"));
    // Whoever handles without waiting comes back at once: now and then the event loop has to have its turn.
    if (turn.isOver()) return turn.next().then(takeOrWait);
    return takeOrWait();
  }

  function takeOrWait(): Promise<Result> {
    if (ended) return Promise.resolve(finished);
    const value = take();
    if (value.length > 0) return Promise.resolve({ done: false, value });
    return new Promise((resolve) => {
      waiter = resolve;
    });
  }

  const iterator: AsyncIterator<readonly Delivery[], undefined> = {
    next,
    return() {
      end();
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
    get waiting() {
      return waiter !== undefined;
    },
    wake,
    end,
  };
}
