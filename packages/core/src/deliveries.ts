import { WaybillError } from "./errors.ts";
import type { Delivery } from "./transport.ts";
import { createTurn, type Turn } from "./turn.ts";

/** For an adapter: how deliveries reach the one who iterates, taken when asked for, or when something comes while somebody waits. */
export interface Deliveries {
  readonly deliveries: AsyncIterable<readonly Delivery[]>;
  /** Somebody waits. */
  readonly waiting: boolean;
  /** Something may be there to take. */
  wake(): void;
  end(): void;
}

export interface DeliveriesOptions {
  /** Called synchronously from `next` and `wake`, and never after the end. Nothing to take: an empty array. */
  readonly take: () => readonly Delivery[];
  /** The one who iterates had enough before the end. */
  readonly returned?: () => void;
  /** Default: one of its own. */
  readonly turn?: Turn;
}

type Result = IteratorResult<readonly Delivery[], undefined>;
const finished: Result = Object.freeze({ done: true, value: undefined });

export function createDeliveries({ take, returned, turn = createTurn() }: DeliveriesOptions): Deliveries {
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
    // Taking may find out that this is the end.
    if (value.length === 0 || waiter === undefined) return;
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
      if (!ended) {
        end();
        returned?.();
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
    get waiting() {
      return waiter !== undefined;
    },
    wake,
    end,
  };
}
