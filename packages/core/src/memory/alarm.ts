import type { Clock, Timer } from "../clock.ts";

/** One timer for many due times: it rings at the earliest, and whoever answers sets the next. */
export interface Alarm {
  /** Rings at this monotonic time or before it. Costs nothing while it is set to an earlier one. */
  at(time: number): void;
  cancel(): void;
}

export function createAlarm(clock: Clock, ring: () => void): Alarm {
  let timer: Timer | undefined;
  let setTo = Infinity;
  const cancel = (): void => {
    timer?.cancel();
    timer = undefined;
    setTo = Infinity;
  };
  return {
    at(time) {
      if (time >= setTo) return;
      cancel();
      setTo = time;
      timer = clock.after(Math.max(0, time - clock.monotonic()), () => {
        timer = undefined;
        setTo = Infinity;
        ring();
      });
    },
    cancel,
  };
}
