import { Attempt, type AttemptHost } from "./attempt.ts";
import type { Clock, Timer } from "./clock.ts";
import { createDeque, type Deque } from "./deque.ts";
import { WaybillError } from "./errors.ts";
import type { Item } from "./item.ts";
import type { Turn } from "./turn.ts";

/**
 * Runs handlers: `concurrency` long-lived slots pull from one queue. A message costs its handler's own promise and one await.
 * With `keyed`, items of one key run one after another.
 */
export interface Executor {
  add(items: readonly Item[]): void;
  /** Runs it before those that wait: a retry in process. Its key stays held. */
  again(item: Item): void;
  /** Runs it even while paused. */
  alone(item: Item): void;
  /** Its verdict is final: the next of its key may run. */
  done(item: Item): void;
  /** Paused, nothing new starts. */
  pause(paused: boolean): void;
  /** Takes out what has not started and fits; keys that it held are free again. */
  withdraw(fits: (item: Item) => boolean): Item[];
  /** Ends the running attempts that fit: fires their signals. */
  abort(fits: (item: Item) => boolean, reason: WaybillError): void;
  /** What is in hand here: waiting and running. */
  visit(see: (item: Item) => void): void;
  readonly running: number;
  readonly waiting: number;
  readonly abandoned: number;
  /** Resolves when nothing that fits runs (at the latest when time-out and grace are over). */
  quiet(fits?: (item: Item) => boolean): Promise<void>;
  close(): void;
}

/** Decides when the next handler may start: a rate limit, a circuit breaker. */
export interface Gate {
  /** 0: now, and it counts as started. Else ask again after that many ms. */
  waitMs(): number;
  ended(ok: boolean): void;
}

export interface ExecutorOptions {
  readonly clock: Clock;
  readonly turn: Turn;
  readonly concurrency: number;
  readonly keyed: boolean;
  readonly timeoutMs: number;
  readonly graceMs: number;
  readonly gates: readonly Gate[];
  readonly host: AttemptHost;
  /** The handler and what is around it. */
  readonly run: (attempt: Attempt) => unknown;
  /** Told once an attempt; `error` counts only if it failed. */
  readonly finished: (item: Item, attempt: Attempt, failed: boolean, error: unknown) => void;
  /** More or fewer handlers run on after their time. */
  readonly abandonedChanged: (abandoned: number) => void;
}

interface Slot {
  item: Item | undefined;
  attempt: Attempt | undefined;
  startedAt: number;
  timedOut: boolean;
  abandoned: boolean;
}

const sweepMs = 50;
/** Marks a key whose one item runs and behind which nothing waits. */
const noneBehind: Deque<Item> = createDeque();

export function createExecutor(options: ExecutorOptions): Executor {
  const { clock, turn, concurrency, keyed, host, run, finished, gates } = options;
  const ready = createDeque<Item>();
  const next = createDeque<Item>();
  const first = createDeque<Item>();
  const lanes = new Map<string, Deque<Item>>();
  const slots = new Set<Slot>();
  const idle: (() => void)[] = [];
  const listeners = new Set<() => void>();
  let running = 0;
  let abandoned = 0;
  let paused = false;
  let closed = false;
  let now = clock.monotonic();
  let sweep: Timer | undefined;
  let gateTimer: Timer | undefined;
  let sinceTurn = 0;

  let capturedResolve: () => void;
  const capture = (resolve: () => void): void => {
    capturedResolve = resolve;
  };

  function wake(count: number): void {
    for (let left = count; left > 0; left -= 1) {
      const resume = idle.pop();
      if (resume !== undefined) resume();
      else if (slots.size - abandoned < concurrency) spawn();
      else return;
    }
  }

  function spawn(): void {
    const slot: Slot = { item: undefined, attempt: undefined, startedAt: 0, timedOut: false, abandoned: false };
    slots.add(slot);
    void work(slot);
  }

  async function work(slot: Slot): Promise<void> {
    // The first await keeps whoever woke the slot from running a handler on its own stack.
    await Promise.resolve();
    for (;;) {
      if (closed) break;
      const item = take();
      if (item === undefined) {
        const parked = new Promise<void>(capture);
        idle.push(capturedResolve!);
        await parked;
        continue;
      }
      const attempt = begin(slot, item);
      let failed = false;
      let error: unknown;
      try {
        const result = run(attempt);
        if (isThenable(result)) await result;
      } catch (thrown) {
        failed = true;
        error = thrown;
      }
      if (slot.abandoned) {
        abandoned -= 1;
        options.abandonedChanged(abandoned);
        break;
      }
      finish(slot, item, attempt, failed, error);
      sinceTurn += 1;
      if (sinceTurn >= 16) {
        sinceTurn = 0;
        if (turn.isOver()) await turn.next();
      }
    }
    slots.delete(slot);
  }

  function begin(slot: Slot, item: Item): Attempt {
    const attempt = new Attempt(item, host);
    item.running = attempt;
    slot.item = item;
    slot.attempt = attempt;
    slot.startedAt = now;
    slot.timedOut = false;
    running += 1;
    sweep ??= clock.after(sweepMs, sweepNow);
    return attempt;
  }

  function finish(slot: Slot, item: Item, attempt: Attempt, failed: boolean, error: unknown): void {
    running -= 1;
    slot.item = undefined;
    slot.attempt = undefined;
    item.running = undefined;
    attempt.ended = true;
    for (const gate of gates) gate.ended(!failed && !slot.timedOut);
    if (slot.timedOut) finished(item, attempt, true, timedOut());
    else finished(item, attempt, failed, error);
    if (listeners.size > 0) for (const listener of listeners) listener();
  }

  function timedOut(): WaybillError {
    return new WaybillError("HANDLER_TIMEOUT", `the handler did not finish within ${options.timeoutMs} ms`);
  }

  function take(): Item | undefined {
    for (let item = first.peek(); item !== undefined; item = first.peek()) {
      if (!item.gone && !mayStart()) return undefined;
      first.shift();
      if (!item.gone) return item;
    }
    if (paused) return undefined;
    for (let item = next.peek(); item !== undefined; item = next.peek()) {
      if (!item.gone && !mayStart()) return undefined;
      next.shift();
      if (!item.gone) return item;
    }
    for (let item = ready.peek(); item !== undefined; item = ready.peek()) {
      if (item.gone) {
        ready.shift();
        continue;
      }
      if (keyed && item.key !== undefined) {
        const lane = lanes.get(item.key);
        if (lane !== undefined) {
          ready.shift();
          behind(item.key, lane, item);
          continue;
        }
      }
      if (!mayStart()) return undefined;
      ready.shift();
      if (keyed && item.key !== undefined) {
        item.holdsLane = true;
        lanes.set(item.key, noneBehind);
      }
      return item;
    }
    return undefined;
  }

  function behind(key: string, lane: Deque<Item>, item: Item): void {
    if (lane === noneBehind) {
      lane = createDeque();
      lanes.set(key, lane);
    }
    lane.push(item);
  }

  function mayStart(): boolean {
    for (const gate of gates) {
      const waitMs = gate.waitMs();
      if (waitMs <= 0) continue;
      gateTimer ??= clock.after(waitMs, () => {
        gateTimer = undefined;
        wake(concurrency);
      });
      return false;
    }
    return true;
  }

  function done(item: Item): void {
    item.gone = true;
    if (!item.holdsLane || item.key === undefined) return;
    item.holdsLane = false;
    const lane = lanes.get(item.key);
    for (let follower = lane?.shift(); follower !== undefined; follower = lane?.shift()) {
      if (follower.gone) continue;
      follower.holdsLane = true;
      next.push(follower);
      wake(1);
      return;
    }
    lanes.delete(item.key);
  }

  function sweepNow(): void {
    now = clock.monotonic();
    sweep = undefined;
    for (const slot of slots) {
      if (slot.item === undefined || slot.attempt === undefined || slot.abandoned || slot.attempt.committing) continue;
      const elapsedMs = now - slot.startedAt;
      if (!slot.timedOut && elapsedMs >= options.timeoutMs) {
        slot.timedOut = true;
        slot.attempt.end(timedOut());
      }
      if (slot.timedOut && elapsedMs >= options.timeoutMs + options.graceMs) abandon(slot, slot.item, slot.attempt);
    }
    if (running > 0) sweep = clock.after(sweepMs, sweepNow);
  }

  /** The handler does not come back: its slot is given away, and it goes on alone, unable to change anything. */
  function abandon(slot: Slot, item: Item, attempt: Attempt): void {
    abandoned += 1;
    finish(slot, item, attempt, true, undefined);
    slot.abandoned = true;
    options.abandonedChanged(abandoned);
    wake(1);
  }

  return {
    add(items) {
      if (items.length === 0) return;
      now = clock.monotonic();
      for (const item of items) ready.push(item);
      wake(items.length);
    },
    again(item) {
      now = clock.monotonic();
      next.push(item);
      wake(1);
    },
    alone(item) {
      now = clock.monotonic();
      first.push(item);
      wake(1);
    },
    done,
    pause(value) {
      paused = value;
      if (!paused) wake(concurrency);
    },
    withdraw(fits) {
      const taken = [...first.remove(fits), ...next.remove(fits), ...ready.remove(fits)];
      for (const lane of lanes.values()) if (lane !== noneBehind) taken.push(...lane.remove(fits));
      // All first: the end of one may not start another that goes as well.
      for (const item of taken) item.gone = true;
      for (const item of taken) done(item);
      return taken;
    },
    abort(fits, reason) {
      for (const slot of slots) if (slot.item !== undefined && fits(slot.item)) slot.attempt?.end(reason);
    },
    visit(see) {
      first.forEach(see);
      next.forEach(see);
      ready.forEach(see);
      for (const lane of lanes.values()) lane.forEach(see);
      for (const slot of slots) if (slot.item !== undefined) see(slot.item);
    },
    get running() {
      return running;
    },
    get waiting() {
      let count = first.size + next.size + ready.size;
      for (const lane of lanes.values()) count += lane.size;
      return count;
    },
    get abandoned() {
      return abandoned;
    },
    quiet(fits = () => true) {
      const isQuiet = (): boolean => {
        for (const slot of slots) if (slot.item !== undefined && fits(slot.item)) return false;
        return true;
      };
      if (isQuiet()) return Promise.resolve();
      return new Promise((resolve) => {
        const listener = (): void => {
          if (!isQuiet()) return;
          listeners.delete(listener);
          resolve();
        };
        listeners.add(listener);
      });
    },
    close() {
      closed = true;
      sweep?.cancel();
      gateTimer?.cancel();
      for (const resume of idle.splice(0)) resume();
    },
  };
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
