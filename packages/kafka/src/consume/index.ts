export { createConsumers } from "./consumers.ts";
export type { Consumers, ConsumersOptions } from "./consumers.ts";
