import type { Clock } from "../clock.ts";

/** The ids of a topic's last publishes, so that a repeat is stored once. */
export interface Recent {
  /** False: it is a repeat. */
  add(id: string): boolean;
  has(id: string): boolean;
}

/** In a burst the window is this many messages instead: memory has to end somewhere. */
export const maxRecent = 1_000_000;

/** Two generations that take turns: an id is remembered for at least the window, at most twice as long. */
export function createRecent(clock: Clock, windowMs: number): Recent {
  let young = new Set<string>();
  let old = new Set<string>();
  let turnAt = clock.monotonic() + windowMs;

  function grow(): void {
    const now = clock.monotonic();
    if (now < turnAt && young.size < maxRecent) return;
    old = now < turnAt + windowMs ? young : new Set();
    young = new Set();
    turnAt = now + windowMs;
  }

  return {
    add(id) {
      grow();
      if (young.has(id) || old.has(id)) return false;
      young.add(id);
      return true;
    },
    has(id) {
      grow();
      return young.has(id) || old.has(id);
    },
  };
}
