import type { PublishChoices, Published } from "./bus-types.ts";
import type { Clock } from "./clock.ts";
import type { Contract } from "./contract.ts";
import type { Publishing } from "./publishing.ts";
import type { Relays } from "./relays.ts";
import type { Store } from "./store/store.ts";
import { createTransactionSteps } from "./transaction-steps.ts";
import type { Transport } from "./transport.ts";
import type { Wire } from "./wire.ts";

export interface TransactHost {
  readonly clock: Clock;
  readonly store: Store;
  readonly transport: Transport;
  readonly publishing: Publishing;
  readonly wire: Wire;
  readonly mustBeOpen: () => void;
  readonly relays: Relays;
}

export interface TransactContext {
  readonly tx: unknown;
  publish(contract: Contract, body: unknown, options?: PublishChoices): Promise<Published>;
}

/** The outbox for code that is no handler: what `work` writes and what it publishes commit together, or neither does. */
export async function transactWith(host: TransactHost, work: (ctx: TransactContext) => Promise<unknown>): Promise<unknown> {
  const { clock, store, transport, publishing, wire } = host;
  host.mustBeOpen();
  await host.relays.ensure(store);
  const steps = createTransactionSteps({ clock, store, transport, toBytes: wire.toBytes });
  const { signal } = new AbortController();
  const unit = await steps.begin(signal);
  try {
    const result = await work({
      get tx() {
        return unit.store?.tx;
      },
      publish: (contract, body, choices) => publishing.publishInto((message) => unit.outgoing.push(message), contract, body, choices),
    });
    const refused = await steps.bounded(steps.publish(unit, signal));
    if (refused !== undefined) throw refused;
    await steps.bounded(unit.transaction.commit());
    return result;
  } catch (error) {
    await steps.rollback(unit);
    throw error;
  }
}
