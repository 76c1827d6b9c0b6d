import type { PublishChoices, Published } from "./bus-types.ts";
import type { Contract } from "./contract.ts";
import type { Publishing } from "./publishing.ts";
import type { Relays } from "./relays.ts";
import type { Store } from "./store/store.ts";
import type { Message, Transport } from "./transport.ts";
import type { Wire } from "./wire.ts";

export interface TransactHost {
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
  const { store, transport, publishing, wire } = host;
  host.mustBeOpen();
  await host.relays.ensure(store);
  const transaction = store.begin({ signal: new AbortController().signal });
  const outgoing: Message[] = [];
  try {
    const result = await work({
      get tx() {
        return transaction.tx;
      },
      publish: (contract, body, choices) => publishing.publishInto((message) => outgoing.push(message), contract, body, choices),
    });
    if (outgoing.length > 0 && store.joins(transport)) {
      const outcomes = await transport.publish(outgoing, { signal: new AbortController().signal, tx: transaction });
      for (const outcome of outcomes) if (!outcome.ok) throw outcome.error;
    } else if (outgoing.length > 0) await transaction.enqueue(outgoing.map(wire.toBytes));
    await transaction.commit();
    return result;
  } catch (error) {
    await transaction.rollback();
    throw error;
  }
}
