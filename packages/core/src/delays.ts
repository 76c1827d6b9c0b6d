import type { Clock, Timer } from "./clock.ts";
import type { Item } from "./item.ts";

/** Items that wait in process: for their next attempt, or for the next try to hand them over. */
export interface Delays {
  add(item: Item, delayMs: number, run: () => void): void;
  /** Takes out those that fit; they will not run. */
  take(fits: (item: Item) => boolean): readonly Delayed[];
  visit(see: (item: Item) => void): void;
  /** Forgets all that wait, and what is added later as well. */
  close(): void;
}

export interface Delayed {
  readonly item: Item;
  /** What was left to wait. */
  readonly leftMs: number;
}

export function createDelays(clock: Clock): Delays {
  let closed = false;
  const waiting = new Map<Item, { readonly timer: Timer; readonly dueAt: number }>();
  return {
    add(item, delayMs, run) {
      if (closed) {
        item.gone = true;
        return;
      }
      const timer = clock.after(delayMs, () => {
        waiting.delete(item);
        if (!item.gone) run();
      });
      waiting.set(item, { timer, dueAt: clock.monotonic() + delayMs });
    },
    take(fits) {
      const taken: Delayed[] = [];
      const now = clock.monotonic();
      for (const [item, { timer, dueAt }] of waiting) {
        if (!fits(item)) continue;
        timer.cancel();
        waiting.delete(item);
        item.gone = true;
        taken.push({ item, leftMs: Math.max(0, dueAt - now) });
      }
      return taken;
    },
    visit(see) {
      for (const item of waiting.keys()) see(item);
    },
    close() {
      closed = true;
      for (const [item, { timer }] of waiting) {
        timer.cancel();
        item.gone = true;
      }
      waiting.clear();
    },
  };
}
