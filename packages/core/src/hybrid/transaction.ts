import { WaybillError } from "../errors.ts";
import type { Transaction, Transport } from "../transport.ts";

/** Begun on the transport that its first message or settlement belongs to; nothing of another one goes into it. */
export interface HybridTransaction extends Transaction {
  /** The transport's own. Rejects with `CAPABILITY` if it is another one's by now, or if this one has none. */
  on(index: number): Promise<Transaction>;
}

export function createTransaction(transports: readonly Transport[], signal: AbortSignal): HybridTransaction {
  let owner: number | undefined;
  let inner: Promise<Transaction> | undefined;
  let over = false;

  function on(index: number): Promise<Transaction> {
    const transport = transports[index] as Transport;
    if (over) return Promise.reject(new WaybillError("CLOSED", "the transaction is over"));
    if (owner !== undefined && owner !== index) {
      return Promise.reject(
        new WaybillError("CAPABILITY", `a transaction of ${transports[owner]?.name} cannot hold what belongs to ${transport.name}`, {
          remedy: "route these topics to one transport, or use exactlyOnce with a store",
        }),
      );
    }
    if (transport.begin === undefined) return Promise.reject(new WaybillError("CAPABILITY", `${transport.name} has no transactions`));
    owner = index;
    return (inner ??= transport.begin({ signal }));
  }

  return {
    on,
    async commit() {
      if (over) throw new WaybillError("CLOSED", "the transaction is over");
      over = true;
      await (await inner)?.commit();
    },
    async rollback() {
      over = true;
      const begun = await inner?.catch(() => undefined);
      await begun?.rollback();
    },
  };
}

/** @throws `CONFIG` for one that was begun elsewhere. */
export function hybridTransaction(tx: Transaction | undefined): HybridTransaction | undefined {
  if (tx === undefined || "on" in tx) return tx as HybridTransaction | undefined;
  throw new WaybillError("CONFIG", "a transaction that this transport did not begin");
}
