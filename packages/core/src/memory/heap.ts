/** A binary min-heap: what comes `before` all others is first. */
export interface Heap<T> {
  readonly size: number;
  push(item: T): void;
  peek(): T | undefined;
  pop(): T | undefined;
  forEach(visit: (item: T) => void): void;
  /** Takes out those that `drop` says yes to. */
  remove(drop: (item: T) => boolean): void;
}

export function createHeap<T>(before: (a: T, b: T) => boolean): Heap<T> {
  let items: T[] = [];

  function rise(from: number): void {
    const item = items[from] as T;
    let at = from;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!before(item, items[above] as T)) break;
      items[at] = items[above] as T;
      at = above;
    }
    items[at] = item;
  }

  function sink(from: number): void {
    const item = items[from] as T;
    let at = from;
    for (;;) {
      let below = at * 2 + 1;
      if (below >= items.length) break;
      if (below + 1 < items.length && before(items[below + 1] as T, items[below] as T)) below += 1;
      if (!before(items[below] as T, item)) break;
      items[at] = items[below] as T;
      at = below;
    }
    items[at] = item;
  }

  return {
    get size() {
      return items.length;
    },
    push(item) {
      items.push(item);
      rise(items.length - 1);
    },
    peek: () => items[0],
    pop() {
      const first = items[0];
      const last = items.pop();
      if (items.length > 0) {
        items[0] = last as T;
        sink(0);
      }
      return first;
    },
    forEach: (visit) => items.forEach((item) => visit(item)),
    remove(drop) {
      const left = items.filter((item) => !drop(item));
      if (left.length === items.length) return;
      items = left;
      for (let at = (items.length >> 1) - 1; at >= 0; at -= 1) sink(at);
    },
  };
}
