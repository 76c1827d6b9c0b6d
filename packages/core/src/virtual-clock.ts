import type { Clock } from "./clock.ts";

/** A clock that stands still until it is told to go on. */
export interface VirtualClock extends Clock {
  /** Goes on by so many ms. What falls due on the way runs in its order, at its time; what that adds, too. Promises do not get their turn. */
  tick(ms: number): void;
  /** The same, and after each timer the event loop has a turn, so that promises and `setImmediate` go on at that time. */
  advance(ms: number): Promise<void>;
  /** Sets the wall clock, as an operator or NTP would; the monotonic one goes on as before. */
  setNow(ms: number): void;
  /** Timers that have not run. */
  readonly pending: number;
  /** When the next of them is due, on the monotonic clock; undefined: there is none. */
  readonly nextAt: number | undefined;
}

interface Entry {
  readonly at: number;
  readonly run: () => void;
}

/** `now`: where the wall clock starts, ms since the epoch; default 0. The monotonic clock starts at 0. */
export function createVirtualClock(options: { readonly now?: number } = {}): VirtualClock {
  let elapsed = 0;
  let offset = options.now ?? 0;
  /** Sorted by time; of one time, in the order they were added. */
  const entries: Entry[] = [];

  function add(entry: Entry): void {
    let low = 0;
    let high = entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((entries[middle]?.at ?? 0) <= entry.at) low = middle + 1;
      else high = middle;
    }
    entries.splice(low, 0, entry);
  }

  /** Runs the next one up to `end`; false if there is none, and then it is `end`. */
  function step(end: number): boolean {
    const next = entries[0];
    if (next === undefined || next.at > end) {
      elapsed = end;
      return false;
    }
    entries.shift();
    elapsed = next.at;
    next.run();
    return true;
  }

  return {
    now: () => offset + elapsed,
    monotonic: () => elapsed,
    after(delayMs, run) {
      const entry: Entry = { at: elapsed + Math.max(delayMs, 0), run };
      add(entry);
      return {
        cancel() {
          const index = entries.indexOf(entry);
          if (index !== -1) entries.splice(index, 1);
        },
      };
    },
    tick(ms) {
      const end = elapsed + ms;
      while (step(end));
    },
    async advance(ms) {
      const end = elapsed + ms;
      await turn();
      while (step(end)) await turn();
      await turn();
    },
    setNow(ms) {
      offset = ms - elapsed;
    },
    get pending() {
      return entries.length;
    },
    get nextAt() {
      return entries[0]?.at;
    },
  };
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
