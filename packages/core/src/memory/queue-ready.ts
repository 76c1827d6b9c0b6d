import { createDeque, type Deque } from "../deque.ts";
import { createHeap } from "./heap.ts";
import type { Entry } from "./queue-entry.ts";

/** What waits to be handed out: the higher priority first, and within one the earlier published first. */
export interface Ready {
  readonly size: number;
  /** For the first time: later than all of its priority before it. */
  push(entry: Entry): void;
  /** Was handed out or held up before: it goes back to its place. */
  putBack(entry: Entry): void;
  peek(): Entry | undefined;
  shift(): Entry | undefined;
  forEach(visit: (entry: Entry) => void): void;
  remove(drop: (entry: Entry) => boolean): void;
}

export function createReady(): Ready {
  // By far the most come with priority 0 and leave in the order they came.
  const byPriority: (Deque<Entry> | undefined)[] = [createDeque<Entry>()];
  const back = createHeap<Entry>(comesBefore);
  let size = 0;

  /** The deque that is next; undefined: it is `back`'s turn, or there is nothing. */
  function next(): Deque<Entry> | undefined {
    for (let priority = byPriority.length - 1; priority >= 0; priority -= 1) {
      const deque = byPriority[priority];
      const first = deque?.peek();
      if (first === undefined) continue;
      const returned = back.peek();
      return returned === undefined || comesBefore(first, returned) ? deque : undefined;
    }
    return undefined;
  }

  return {
    get size() {
      return size;
    },
    push(entry) {
      size += 1;
      (byPriority[entry.priority] ??= createDeque<Entry>()).push(entry);
    },
    putBack(entry) {
      size += 1;
      back.push(entry);
    },
    peek() {
      if (size === 0) return undefined;
      const deque = next();
      return deque === undefined ? back.peek() : deque.peek();
    },
    shift() {
      if (size === 0) return undefined;
      size -= 1;
      const deque = next();
      return deque === undefined ? back.pop() : deque.shift();
    },
    forEach(visit) {
      back.forEach(visit);
      for (const deque of byPriority) deque?.forEach(visit);
    },
    remove(drop) {
      back.remove(drop);
      for (const deque of byPriority) deque?.remove(drop);
      size = back.size + byPriority.reduce((sum, deque) => sum + (deque?.size ?? 0), 0);
    },
  };
}

function comesBefore(a: Entry, b: Entry): boolean {
  return a.priority > b.priority || (a.priority === b.priority && a.position < b.position);
}
