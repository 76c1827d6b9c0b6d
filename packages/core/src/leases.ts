import type { Clock, Timer } from "./clock.ts";
import { WaybillError } from "./errors.ts";
import type { Item } from "./item.ts";
import type { Settlement, Subscription } from "./transport.ts";

/**
 * Extends what is in hand at a third of its lease, all with one timer and one call. What the executor has let go of
 * (settled, abandoned) is not in hand, and its lease ends by itself.
 */
export interface Leases {
  close(): void;
}

export interface LeasesOptions {
  readonly clock: Clock;
  readonly leaseMs: number;
  readonly subscription: Subscription;
  readonly visit: (see: (item: Item) => void) => void;
  /** The lease was lost: its attempt must end, and nothing of it may be settled. */
  readonly lost: (item: Item, reason: WaybillError) => void;
}

export function keepLeases({ clock, leaseMs, subscription, visit, lost }: LeasesOptions): Leases {
  let timer: Timer | undefined;
  let closed = false;
  const everyMs = Math.max(10, Math.floor(leaseMs / 3));

  async function extend(): Promise<void> {
    const items: Item[] = [];
    const settlements: Settlement[] = [];
    visit((item) => {
      if (item.gone || item.delivery.leaseMs === undefined) return;
      items.push(item);
      settlements.push({ kind: "extend", delivery: item.delivery, note: undefined });
    });
    if (items.length > 0) {
      const outcomes = await subscription.settle(settlements).catch(() => []);
      for (let index = 0; index < outcomes.length; index += 1) {
        const item = items[index] as Item;
        if (outcomes[index] === "lost" && !item.gone) lost(item, new WaybillError("LEASE_LOST", "the delivery went to another member"));
      }
    }
    if (!closed) timer = clock.after(everyMs, () => void extend());
  }

  timer = clock.after(everyMs, () => void extend());
  return {
    close() {
      closed = true;
      timer?.cancel();
    },
  };
}
