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

export function createTurn(): Turn {
  let startedAt = 0;
  let waiting: Promise<void> | undefined;
  const begin = (): void => {
    startedAt = 0;
    waiting = undefined;
  };
  return {
    isOver() {
      const now = performance.now();
      if (startedAt === 0) {
        startedAt = now;
        setImmediate(begin);
        return false;
      }
      return now - startedAt > budgetMs;
    },
    next() {
      return (waiting ??= new Promise((resolve) => setImmediate(resolve)));
    },
    defer(run) {
      setImmediate(run);
    },
  };
}
