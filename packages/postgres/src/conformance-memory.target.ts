import type { ConformanceTarget } from "@waybill/conformance";
import { memoryBroker, type MemoryBroker } from "@waybill/core";
import { conformanceStore, freshStore, storeAt } from "./conformance.fixture.ts";

const brokers = new Map<string, MemoryBroker>();

/** `memory()` beside a PostgreSQL store: inbox, outbox and relay. A crash is an abandoned bus. */
export const target: ConformanceTarget = {
  name: "memory with a PostgreSQL store",
  processes: false,
  async start() {
    const fresh = await freshStore();
    const broker = memoryBroker();
    brokers.set(fresh.at.schema, broker);
    return {
      connection: { ...fresh.at },
      faults: { crash: (transport) => broker.crash(transport) },
      async [Symbol.asyncDispose]() {
        brokers.delete(fresh.at.schema);
        await fresh[Symbol.asyncDispose]();
      },
    };
  },
  open(connection) {
    const broker = brokers.get(storeAt(connection).schema);
    if (broker === undefined) throw new Error("no such broker in this process");
    return broker.open();
  },
  store: (connection) => conformanceStore(storeAt(connection)),
};
