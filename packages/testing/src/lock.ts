/** One holder at a time, first come, first served. */
export interface Lock {
  /** Resolves with how to give it back; giving back twice is harmless. */
  take(): Promise<() => void>;
}

export function createLock(): Lock {
  const waiting: (() => void)[] = [];
  let held = false;

  function grant(resolve: (give: () => void) => void): void {
    held = true;
    let given = false;
    resolve(() => {
      if (given) return;
      given = true;
      held = false;
      waiting.shift()?.();
    });
  }

  return {
    take: () =>
      new Promise((resolve) => {
        if (held) waiting.push(() => grant(resolve));
        else grant(resolve);
      }),
  };
}
