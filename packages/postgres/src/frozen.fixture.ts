// A process that claims a message, writes its effect, and commits when it is told to: started, frozen and killed by a test.
import { postgresStore } from "./store.ts";

export interface FrozenOrder {
  readonly connectionString: string;
  readonly schema: string;
  readonly table: string;
  readonly id: string;
  readonly transactionLimit: number;
}

const { connectionString, schema, table, id, transactionLimit } = JSON.parse(process.argv[2] ?? "") as FrozenOrder;
const store = postgresStore({ connectionString, schema, transactionLimit });
await store.open({ signal: AbortSignal.timeout(20_000) });
const transaction = store.begin({ signal: new AbortController().signal });
await transaction.tx.query(`insert into ${table} values ($1, 1)`, [id]);
const claimed = await transaction.claim("g", id);
process.on("message", () => {
  const outcome = transaction.commit().then(
    () => "committed",
    (error: { readonly certainty: string }) => error.certainty,
  );
  void outcome.then((text) => {
    process.send?.({ outcome: text });
    process.disconnect();
  });
});
process.once("disconnect", () => void store.close());
process.send?.({ claimed });
