import type { Subscription } from "@waybill/core";

/** What a user holds: it lets go of everything else when the subscription has ended. */
export function createFacade(subscription: Subscription): Subscription {
  const { address } = subscription;
  let inner: Subscription | undefined = subscription;
  return {
    address,
    deliveries: () => inner?.deliveries() ?? nothing(),
    settle: (settlements, options) => inner?.settle(settlements, options) ?? Promise.resolve(settlements.map(() => "lost" as const)),
    credit: (credit) => inner?.credit(credit),
    async [Symbol.asyncDispose]() {
      const last = inner;
      inner = undefined;
      await last?.[Symbol.asyncDispose]();
    },
  };
}

async function* nothing(): AsyncGenerator<never> {}
