export { createConsumers } from "./consumers.ts";
export type { Consumers, ConsumersOptions } from "./consumers.ts";
export type { Identity } from "./membership.ts";
export type { OffsetTransaction, TakenOffset, TransactionEnd } from "./offset-transaction.ts";
