import type { Clock } from "./clock.ts";
import { withDeadline } from "./deadline.ts";
import { WaybillError } from "./errors.ts";
import type { Store, StoreTransaction } from "./store/store.ts";
import type { Message, Transaction, Transport } from "./transport.ts";

/** A transaction that is open. */
export interface Unit {
  readonly transaction: Transaction;
  /** The same one, of a store. */
  readonly store: StoreTransaction | undefined;
  /** What was published in it, and goes out with its commit. */
  readonly outgoing: Message[];
}

/** The last steps of a transaction, the same for a handler's and for `bus.transact`; each waits 30 s at most. */
export interface TransactionSteps {
  /** True if the transport itself takes part. */
  readonly joined: boolean;
  begin(signal: AbortSignal): Promise<Unit>;
  /** Hands what it publishes to the transport where that takes part, else to the outbox. Answers the error of a message that was refused. */
  publish(unit: Unit, signal: AbortSignal): Promise<WaybillError | undefined>;
  /** Rejects as `work` does, and with `TX_UNKNOWN` when the time is over. */
  bounded<T>(work: Promise<T>): Promise<T>;
  /** Never rejects. */
  rollback(unit: Unit): Promise<void>;
}

export interface TransactionStepsOptions {
  readonly clock: Clock;
  /** Undefined: the transport's own transactions. */
  readonly store: Store | undefined;
  readonly transport: Transport;
  /** Bodies in an outbox are bytes. */
  readonly toBytes: (message: Message) => Message;
}

const stepMs = 30_000;

export function createTransactionSteps({ clock, store, transport, toBytes }: TransactionStepsOptions): TransactionSteps {
  const joined = store === undefined || store.joins(transport);
  return {
    joined,
    async begin(signal) {
      if (store !== undefined) {
        const transaction = store.begin({ signal });
        return { transaction, store: transaction, outgoing: [] };
      }
      const begun = await transport.begin?.({ signal });
      if (begun === undefined) throw new WaybillError("CAPABILITY", `${transport.name} has no transactions`);
      return { transaction: begun, store: undefined, outgoing: [] };
    },
    async publish({ transaction, store: writes, outgoing }, signal) {
      if (outgoing.length === 0) return undefined;
      if (!joined && writes !== undefined) {
        await writes.enqueue(outgoing.map(toBytes));
        return undefined;
      }
      const outcomes = await transport.publish(outgoing, { signal, tx: transaction });
      return outcomes.find((outcome) => !outcome.ok)?.error;
    },
    async bounded(work) {
      const inTime = await withDeadline(work, stepMs, clock);
      if (!inTime) throw new WaybillError("TX_UNKNOWN", `${store?.name ?? transport.name} did not answer within ${stepMs} ms`);
      return work;
    },
    async rollback({ transaction }) {
      await withDeadline(transaction.rollback(), stepMs, clock);
    },
  };
}
