/** A first-in, first-out queue with cheap ends; `Array.shift` copies. */
export interface Deque<T> {
  readonly size: number;
  push(item: T): void;
  pushFront(items: readonly T[]): void;
  shift(): T | undefined;
  peek(): T | undefined;
  /** Takes out those that `drop` says yes to. */
  remove(drop: (item: T) => boolean): T[];
  forEach(visit: (item: T) => void): void;
  clear(): T[];
}

export function createDeque<T>(): Deque<T> {
  let items: (T | undefined)[] = [];
  let head = 0;
  const rest = (): T[] => (head === 0 ? items : items.slice(head)) as T[];
  return {
    get size() {
      return items.length - head;
    },
    push(item) {
      items.push(item);
    },
    pushFront(front) {
      items = [...front, ...rest()];
      head = 0;
    },
    shift() {
      if (head === items.length) return undefined;
      const item = items[head];
      items[head] = undefined;
      head += 1;
      if (head === items.length) {
        items.length = 0;
        head = 0;
      } else if (head >= 4096 && head * 2 >= items.length) {
        items = items.slice(head);
        head = 0;
      }
      return item;
    },
    peek() {
      return items[head];
    },
    remove(drop) {
      const removed: T[] = [];
      const kept: T[] = [];
      for (const item of rest()) (drop(item) ? removed : kept).push(item);
      if (removed.length > 0) {
        items = kept;
        head = 0;
      }
      return removed;
    },
    forEach(visit) {
      for (let index = head; index < items.length; index += 1) visit(items[index] as T);
    },
    clear() {
      const all = rest();
      items = [];
      head = 0;
      return all;
    },
  };
}
