import type { Clock, Timer } from "./clock.ts";

/** One item that waits. Opaque: give it back to `cancel`. */
export interface TimerHandle {
  readonly "~timer": unknown;
}

/** Any number of coarse timers behind one timer of the clock. */
export interface Timers<Item> {
  /** Due after the delay, rounded up to a whole tick: up to one tick late, never early. Costs the same for any number of items. */
  add(delayMs: number, item: Item): TimerHandle;
  /** False if it has run or was cancelled already. Costs the same for any number of items. */
  cancel(handle: TimerHandle): boolean;
  readonly size: number;
  /** Forgets all that wait. */
  clear(): void;
}

/** A link of a ring; the head of a slot is one too. */
interface Node<Item> {
  item: Item | undefined;
  tick: number;
  before: Node<Item>;
  after: Node<Item>;
  /** Not in a ring: it has run, or was cancelled. */
  out: boolean;
}

const slotCount = 512;
/** After so much work the event loop has its turn. */
const budgetMs = 2;

/**
 * A hashed timing wheel (Varghese and Lauck, 1987, scheme 6): slot = tick modulo 512, so an item that is more than 512 ticks away is
 * passed over once a round. The clock's timer is set for the next slot that holds anything, so that one lease of 30 s does not wake
 * the process each tick, and for none when all are empty. `fire` must not throw.
 */
export function createTimers<Item>(clock: Clock, tickMs: number, fire: (item: Item) => void): Timers<Item> {
  const startedAt = clock.monotonic();
  const slots = Array.from({ length: slotCount }, () => ring<Item>());
  /** What is due and has not run yet: a cancel reaches it still. */
  const due = ring<Item>();
  let size = 0;
  /** All up to this tick has been collected. */
  let passed = 0;
  let timer: Timer | undefined;
  let timerTick = Infinity;

  const tickNow = (): number => Math.floor((clock.monotonic() - startedAt) / tickMs);
  const tickOf = (delayMs: number): number => Math.ceil((clock.monotonic() - startedAt + Math.max(delayMs, 0)) / tickMs);

  function add(delayMs: number, item: Item): TimerHandle {
    const tick = Math.max(tickOf(delayMs), passed + 1);
    const node = { item, tick, out: false } as Node<Item>;
    insert(node, slotOf(tick));
    size += 1;
    if (tick < timerTick) arm(tick);
    return node as unknown as TimerHandle;
  }

  function slotOf(tick: number): Node<Item> {
    return slots[tick % slotCount] as Node<Item>;
  }

  function arm(tick: number): void {
    timer?.cancel();
    timerTick = tick;
    timer = clock.after(startedAt + tick * tickMs - clock.monotonic(), wake);
  }

  function wake(): void {
    timer = undefined;
    timerTick = Infinity;
    collect(tickNow());
    if (run()) {
      armNext();
    } else {
      // An item that is added meanwhile must not put off those that are due.
      timerTick = passed;
      timer = clock.after(0, wake);
    }
  }

  /** Moves what is due up to `tick`; after a stall of more than a round each slot is visited once. */
  function collect(tick: number): void {
    for (let at = Math.max(passed + 1, tick - slotCount + 1); at <= tick; at++) {
      const head = slotOf(at);
      for (let node = head.after; node !== head;) {
        const next = node.after;
        if (node.tick <= tick) {
          unlink(node);
          insert(node, due);
        }
        node = next;
      }
    }
    passed = Math.max(passed, tick);
  }

  /** False if its time was over before all had run. */
  function run(): boolean {
    const until = performance.now() + budgetMs;
    for (let count = 1; due.after !== due; count++) {
      const node = due.after;
      const item = node.item as Item;
      remove(node);
      fire(item);
      if (count % 32 === 0 && performance.now() > until) return due.after === due;
    }
    return true;
  }

  function armNext(): void {
    if (size === 0) return;
    let tick = passed + 1;
    while (slotOf(tick).after === slotOf(tick)) tick += 1;
    if (tick < timerTick) arm(tick);
  }

  function remove(node: Node<Item>): void {
    unlink(node);
    node.out = true;
    node.item = undefined;
    size -= 1;
  }

  function stopWhenEmpty(): void {
    if (size > 0) return;
    timer?.cancel();
    timer = undefined;
    timerTick = Infinity;
  }

  return {
    add,
    cancel(handle) {
      const node = handle as unknown as Node<Item>;
      if (node.out) return false;
      remove(node);
      stopWhenEmpty();
      return true;
    },
    get size() {
      return size;
    },
    clear() {
      for (const head of [...slots, due]) while (head.after !== head) remove(head.after);
      stopWhenEmpty();
    },
  };
}

function ring<Item>(): Node<Item> {
  const head = { item: undefined, tick: 0, out: false } as Node<Item>;
  head.before = head;
  head.after = head;
  return head;
}

function insert<Item>(node: Node<Item>, head: Node<Item>): void {
  node.before = head.before;
  node.after = head;
  head.before.after = node;
  head.before = node;
}

function unlink<Item>(node: Node<Item>): void {
  node.before.after = node.after;
  node.after.before = node.before;
}
