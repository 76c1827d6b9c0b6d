import type { Clock } from "@waybill/core";

/** Lets one or more wait for the next time that something happens. */
export interface Signal {
  fire(): void;
  /** Resolves at the next `fire`, or after `maxMs`. One that fired while nobody waited is not lost: the next wait ends at once. */
  wait(maxMs: number): Promise<void>;
}

export function createSignal(clock: Clock): Signal {
  let waiting: (() => void)[] = [];
  let missed = false;
  return {
    fire() {
      if (waiting.length === 0) missed = true;
      const woken = waiting;
      waiting = [];
      for (const resume of woken) resume();
    },
    wait(maxMs) {
      if (missed) {
        missed = false;
        return Promise.resolve();
      }
      return new Promise((resolve) => {
        const timer = clock.after(maxMs, end);
        waiting.push(end);
        function end(): void {
          timer.cancel();
          const at = waiting.indexOf(end);
          if (at !== -1) waiting.splice(at, 1);
          resolve();
        }
      });
    },
  };
}
