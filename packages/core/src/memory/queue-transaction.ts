import { WaybillError } from "../errors.ts";
import type { Message, Settlement, Transaction } from "../transport.ts";
import type { Entry } from "./queue-entry.ts";
import type { QueueBroker } from "./queue.ts";
import type { TransactionLink } from "./shape.ts";

/** Publishes and settlements that take effect together at the commit, or not at all. */
export interface Transactions {
  begin(link: TransactionLink): Transaction;
  /** What is noted for the commit; undefined: it is over, or none of ours. */
  noted(tx: Transaction): Noted | undefined;
}

export interface Noted {
  readonly messages: Message[];
  readonly settlements: { readonly entry: Entry; readonly generation: number; readonly settlement: Settlement }[];
}

export function createTransactions(broker: QueueBroker): Transactions {
  const open = new WeakMap<Transaction, Noted>();

  /** @throws definite: what was noted cannot all be done any more. */
  function check({ messages, settlements }: Noted): void {
    for (const message of messages) {
      const refused = broker.refuse(message);
      if (refused !== undefined) throw refused;
    }
    for (const { entry, generation } of settlements) {
      if (entry.lease === undefined || entry.generation !== generation) {
        throw new WaybillError("LEASE_LOST", "a delivery of the transaction went to another member: rolled back", {
          certainty: "definite",
        });
      }
    }
  }

  function apply({ messages, settlements }: Noted): void {
    for (const message of messages) broker.put(message);
    for (const { entry, settlement } of settlements) if (entry.lease !== undefined) broker.settle(entry, settlement);
    broker.handOut();
  }

  return {
    begin(link) {
      const noted: Noted = { messages: [], settlements: [] };
      const tx: Transaction = {
        async commit() {
          if (!open.delete(tx)) throw new WaybillError("CLOSED", "the transaction is over");
          if (!link.isUp()) throw new WaybillError("CONNECTION", "the connection of the transaction broke: rolled back");
          const fault = link.commitFault();
          if (fault === "before") throw new WaybillError("TX_UNKNOWN", "the commit was not answered");
          check(noted);
          apply(noted);
          if (fault === "after") throw new WaybillError("TX_UNKNOWN", "the commit was not answered");
        },
        async rollback() {
          open.delete(tx);
        },
      };
      open.set(tx, noted);
      return tx;
    },
    noted: (tx) => open.get(tx),
  };
}
