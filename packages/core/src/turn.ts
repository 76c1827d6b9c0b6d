import { systemClock, type Clock } from "./clock.ts";

/**
 * Lets the event loop have its turn: work that feeds itself by microtasks would never let a timer or a socket in.
 * One of it a bus.
 */
export interface Turn {
  /** True when 2 ms of this turn are used up. Costs one clock reading: ask every few messages. */
  isOver(): boolean;
  /** Resolves in the next turn. Shared by all who wait. */
  next(): Promise<void>;
  /** Runs it in the next turn. */
  defer(run: () => void): void;
}

const budgetMs = 2;
/** On a clock that stands still, so that the loop has its turns there as well, and always at the same place. */
const maxAsked = 10_000;

export function createTurn(clock: Clock = systemClock): Turn {
  let startedAt: number | undefined;
  let asked = 0;
  let waiting: Promise<void> | undefined;
  const begin = (): void => {
    startedAt = undefined;
  };
  return {
    isOver() {
      const now = clock.monotonic();
      if (startedAt === undefined) {
        startedAt = now;
        asked = 0;
        setImmediate(begin);
        return false;
      }
      asked += 1;
      return now - startedAt > budgetMs || asked > maxAsked;
    },
    next() {
      // Forgotten as soon as it is there: without an `isOver` in between nobody else would, and the next one would wait for nothing.
      return (waiting ??= new Promise((resolve) => {
        setImmediate(() => {
          waiting = undefined;
          resolve();
        });
      }));
    },
    defer(run) {
      setImmediate(run);
    },
  };
}
