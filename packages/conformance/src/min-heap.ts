export interface MinHeap<T> {
  push(item: T): void;
  peek(): T | undefined;
  pop(): T | undefined;
}

/** A binary heap: `push` and `pop` in O(log n). */
export function minHeap<T>(compare: (left: T, right: T) => number): MinHeap<T> {
  const items: T[] = [];
  const less = (left: number, right: number): boolean => compare(items[left] as T, items[right] as T) < 0;
  const swap = (left: number, right: number): void => {
    [items[left], items[right]] = [items[right] as T, items[left] as T];
  };
  return {
    push(item) {
      items.push(item);
      for (let at = items.length - 1; at > 0;) {
        const parent = (at - 1) >> 1;
        if (!less(at, parent)) return;
        swap(at, parent);
        at = parent;
      }
    },
    peek: () => items[0],
    pop() {
      const top = items[0];
      const last = items.pop();
      if (items.length === 0 || last === undefined) return top;
      items[0] = last;
      for (let at = 0; ;) {
        const left = 2 * at + 1;
        if (left >= items.length) return top;
        const child = left + 1 < items.length && less(left + 1, left) ? left + 1 : left;
        if (!less(child, at)) return top;
        swap(child, at);
        at = child;
      }
    },
  };
}
