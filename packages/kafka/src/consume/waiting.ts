import type { Clock, Timer } from "@waybill/core";

/** What waits in the process for its time, by the monotonic clock. */
export interface Waiting<T> {
  readonly size: number;
  add(item: T, delayMs: number): void;
  /** The next that is due. */
  take(): T | undefined;
  close(): void;
}

interface Entry<T> {
  readonly item: T;
  readonly at: number;
}

/** `due`: told when something has become due that was not before. */
export function createWaiting<T>(clock: Clock, due: () => void): Waiting<T> {
  // A binary heap: the first is due first.
  const heap: Entry<T>[] = [];
  let timer: Timer | undefined;
  let timerAt = Number.POSITIVE_INFINITY;

  function watch(): void {
    const [first] = heap;
    if (first === undefined || first.at >= timerAt) return;
    timer?.cancel();
    timerAt = first.at;
    // Up to a millisecond early is possible with timers; `take` looks again.
    timer = clock.after(Math.max(1, Math.ceil(first.at - clock.monotonic())), () => {
      timerAt = Number.POSITIVE_INFINITY;
      timer = undefined;
      due();
      watch();
    });
  }

  function swap(a: number, b: number): void {
    const entry = heap[a] as Entry<T>;
    heap[a] = heap[b] as Entry<T>;
    heap[b] = entry;
  }

  const at = (index: number): number => heap[index]?.at ?? Number.POSITIVE_INFINITY;

  return {
    get size() {
      return heap.length;
    },
    add(item, delayMs) {
      heap.push({ item, at: clock.monotonic() + delayMs });
      for (let index = heap.length - 1; index > 0;) {
        const parent = (index - 1) >> 1;
        if (at(parent) <= at(index)) break;
        swap(parent, index);
        index = parent;
      }
      watch();
    },
    take() {
      const [first] = heap;
      if (first === undefined || first.at > clock.monotonic()) return undefined;
      const last = heap.pop() as Entry<T>;
      if (heap.length > 0) {
        heap[0] = last;
        for (let index = 0; ;) {
          const left = index * 2 + 1;
          const least = at(left + 1) < at(left) ? left + 1 : left;
          if (at(least) >= at(index)) break;
          swap(index, least);
          index = least;
        }
      }
      return first.item;
    },
    close() {
      timer?.cancel();
      heap.length = 0;
    },
  };
}
