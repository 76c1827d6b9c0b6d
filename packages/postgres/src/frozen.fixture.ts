// A process that claims a message, writes its effect, and commits when it is told to: started, frozen and killed by a test.
import { postgresStore } from "./store.ts";

const [connectionString = "", schema = "", table = "", id = "", transactionLimit = 1_000] = JSON.parse(process.argv[2] ?? "[]") as [
  string,
  string,
  string,
  string,
  number,
];
const store = postgresStore({ connectionString, schema, transactionLimit });
await store.open({ signal: AbortSignal.timeout(20_000) });
const transaction = store.begin({ signal: new AbortController().signal });
await transaction.tx.query(`insert into ${table} values ($1, 1)`, [id]);
const claimed = await transaction.claim("g", id);
process.on("message", () => {
  transaction
    .commit()
    .then(
      () => "committed",
      (error: { readonly certainty: string }) => error.certainty,
    )
    .then((outcome) => process.send?.({ outcome }))
    .finally(() => process.disconnect());
});
process.once("disconnect", () => void store.close());
process.send?.({ claimed });
