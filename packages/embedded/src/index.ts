export type { EmbeddedOptions, EmbeddedStoreOptions, Faults } from "./options.ts";
export { salvage } from "./salvage/salvage.ts";
export type { Lost, SalvageOptions, SalvageReport } from "./salvage/salvage.ts";
export { embeddedStore } from "./store.ts";
export { embedded } from "./transport.ts";
export type { EmbeddedClient, EmbeddedTransport } from "./transport.ts";
export type { EmbeddedTx, SqlRow, SqlValue, SyncSql } from "./tx.ts";
export type { Diagnosis } from "./worker/protocol.ts";
