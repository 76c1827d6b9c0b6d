export type { Isolation, PostgresStoreOptions } from "./options.ts";
export { postgresMigrations } from "./schema.ts";
export type { Migration } from "./schema.ts";
export { postgresStore } from "./store.ts";
export type { PostgresTx } from "./tx.ts";
