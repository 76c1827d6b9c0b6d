import { WaybillError, type Delivery } from "@waybill/core";

/** How deliveries reach the one who iterates: taken when asked for, or when something comes while somebody waits. */
export interface Intake {
  readonly deliveries: AsyncIterable<readonly Delivery[]>;
  wake(): void;
  end(): void;
}

type Result = IteratorResult<readonly Delivery[], undefined>;
const finished: Result = Object.freeze({ done: true, value: undefined });
/** So much in a row, then the event loop has its turn. */
const turnMs = 2;

/** `take` is never called after `end`; `ended` is told when the one who iterates has had enough. */
export function createIntake(take: () => readonly Delivery[], ended: () => void): Intake {
  let waiter: ((result: Result) => void) | undefined;
  let isOver = false;
  let isUsed = false;
  let turnBegan = 0;

  function end(): void {
    isOver = true;
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
    if (isOver) return Promise.resolve(finished);
    if (waiter !== undefined) return Promise.reject(new WaybillError("BUSY", "next was called while another call of it waits"));
    const now = performance.now();
    if (turnBegan === 0) {
      turnBegan = now;
      setImmediate(() => (turnBegan = 0));
    } else if (now - turnBegan > turnMs) return new Promise<void>((resolve) => setImmediate(resolve)).then(takeOrWait);
    return takeOrWait();
  }

  function takeOrWait(): Promise<Result> {
    if (isOver) return Promise.resolve(finished);
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
      ended();
      return Promise.resolve(finished);
    },
  };
  return {
    deliveries: {
      [Symbol.asyncIterator]() {
        if (isUsed) throw new WaybillError("BUSY", "a subscription is iterated once");
        isUsed = true;
        return iterator;
      },
    },
    wake,
    end,
  };
}
