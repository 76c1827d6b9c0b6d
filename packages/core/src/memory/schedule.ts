import type { Clock } from "../clock.ts";
import { createAlarm } from "./alarm.ts";
import { createHeap } from "./heap.ts";

/** What has to wait for its time. */
export interface Schedule<T> {
  readonly size: number;
  /** `at`: monotonic. */
  add(item: T, at: number): void;
  forEach(visit: (item: T) => void): void;
  remove(drop: (item: T) => boolean): void;
}

interface Waiting<T> {
  readonly item: T;
  readonly at: number;
  readonly turn: number;
}

/** `due`: called with all whose time has come; of one time, in the order they were added. */
export function createSchedule<T>(clock: Clock, due: (items: readonly T[]) => void): Schedule<T> {
  const heap = createHeap<Waiting<T>>((a, b) => a.at < b.at || (a.at === b.at && a.turn < b.turn));
  const alarm = createAlarm(clock, () => {
    const now = clock.monotonic();
    const items: T[] = [];
    let next = heap.peek();
    for (; next !== undefined && next.at <= now; next = heap.peek()) {
      heap.pop();
      items.push(next.item);
    }
    if (next !== undefined) alarm.at(next.at);
    due(items);
  });
  let turn = 0;
  return {
    get size() {
      return heap.size;
    },
    add(item, at) {
      heap.push({ item, at, turn: (turn += 1) });
      alarm.at(at);
    },
    forEach: (visit) => heap.forEach(({ item }) => visit(item)),
    remove: (drop) => heap.remove(({ item }) => drop(item)),
  };
}

/** A time by the wall clock, on the monotonic one: from here on a jump of the wall clock changes nothing. */
export function monotonicOf(clock: Clock, wallTime: number): number {
  return clock.monotonic() + wallTime - clock.now();
}
