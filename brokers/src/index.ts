export { environmentName } from "./environment.ts";
export { installBroker, startBroker } from "./start.ts";
export type { BrokerName, BrokerNode, RunningBroker, StartOptions } from "./types.ts";
