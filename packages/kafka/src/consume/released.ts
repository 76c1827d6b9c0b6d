import type { Delivery, Settlement, SettleOutcome, Subscription } from "@waybill/core";

const nothing: AsyncIterable<readonly Delivery[]> = {
  [Symbol.asyncIterator]: () => ({ next: async () => ({ done: true, value: undefined }) }),
};

/** Whoever holds on to a subscription that is over holds nothing else. */
export function releasedAfterwards(of: Subscription): Subscription {
  const { address } = of;
  let inner: Subscription | undefined = of;
  of = undefined as never;
  let disposed: Promise<void> | undefined;

  async function dispose(): Promise<void> {
    await inner?.[Symbol.asyncDispose]();
    inner = undefined;
  }

  return {
    address,
    deliveries: () => inner?.deliveries() ?? nothing,
    settle: (settlements, options) => inner?.settle(settlements, options) ?? Promise.resolve(allLost(settlements)),
    credit: (credit) => inner?.credit(credit),
    [Symbol.asyncDispose]: () => (disposed ??= dispose()),
  };
}

function allLost(settlements: readonly Settlement[]): readonly SettleOutcome[] {
  return settlements.map(() => "lost");
}
