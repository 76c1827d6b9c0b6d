/** The timers of a clock do not keep a process running; work that somebody waits for must. */
export interface KeepAlive {
  /** Harmless if it is so already. */
  set(on: boolean): void;
}

export function createKeepAlive(): KeepAlive {
  let handle: NodeJS.Timeout | undefined;
  return {
    set(on) {
      if (on) {
        handle ??= setInterval(() => {}, 2 ** 30);
      } else if (handle !== undefined) {
        clearInterval(handle);
        handle = undefined;
      }
    },
  };
}
