import type { SubscriptionEvent } from "@waybill/core";

/** Tells of what will never be seen: one event for a burst, not one for each. */
export function createGaps(onEvent: (event: SubscriptionEvent) => unknown): (count: number, reason: string) => void {
  let missed = new Map<string, number>();

  function tell(): void {
    const told = missed;
    missed = new Map();
    for (const [reason, count] of told) void onEvent({ kind: "gap", count, reason });
  }

  return (count, reason) => {
    if (missed.size === 0) queueMicrotask(tell);
    missed.set(reason, (missed.get(reason) ?? 0) + count);
  };
}
