import { WaybillError } from "@waybill/core";

/** One at a time, in the order of asking. */
export interface Turns {
  /** Answers how to end the turn; harmless twice. Rejects with `ABORTED` when the signal fires first. */
  take(signal: AbortSignal): Promise<() => void>;
}

export function createTurns(): Turns {
  const waiting = new Set<() => void>();
  let isTaken = false;

  function next(): void {
    const [first] = waiting;
    if (first === undefined) isTaken = false;
    else {
      waiting.delete(first);
      first();
    }
  }

  function turn(): () => void {
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      next();
    };
  }

  return {
    take(signal) {
      if (signal.aborted) return Promise.reject(aborted());
      if (!isTaken) {
        isTaken = true;
        return Promise.resolve(turn());
      }
      return new Promise((resolve, reject) => {
        const go = (): void => {
          signal.removeEventListener("abort", stop);
          resolve(turn());
        };
        const stop = (): void => {
          waiting.delete(go);
          reject(aborted());
        };
        waiting.add(go);
        signal.addEventListener("abort", stop, { once: true });
      });
    },
  };
}

function aborted(): WaybillError {
  return new WaybillError("ABORTED", "gave up waiting for another transaction");
}
