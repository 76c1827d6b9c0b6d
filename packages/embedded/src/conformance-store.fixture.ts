import type { TargetStore } from "@waybill/conformance";
import { commitFault } from "./conformance.fixture.ts";
import { embeddedStore } from "./store.ts";
import type { EmbeddedTx } from "./tx.ts";

/** A store on the transport's own file, or on one beside it, with a table of effects. */
export function conformanceStore(path: string, joined: boolean): TargetStore {
  const store = embeddedStore({ path: joined ? path : `${path}.store`, faults: { commit: commitFault } });
  const signal = new AbortController().signal;

  async function inTransaction<T>(work: (tx: EmbeddedTx) => Promise<T>): Promise<T> {
    await store.open({ signal });
    const transaction = store.begin({ signal });
    try {
      const result = await work(transaction.tx);
      await transaction.commit();
      return result;
    } catch (error) {
      await transaction.rollback();
      throw error;
    }
  }

  return {
    store,
    async prepare() {
      await inTransaction((tx) => tx.run("create table if not exists effects (grp text not null, id text not null)"));
    },
    async apply(tx, group, id) {
      await (tx as EmbeddedTx).run("insert into effects values (?, ?)", [group, id]);
    },
    async effects() {
      const rows = await inTransaction((tx) => tx.query("select grp, id from effects"));
      return rows.map((row) => ({ group: String(row["grp"]), id: String(row["id"]) }));
    },
    close: () => store.close(),
  };
}
