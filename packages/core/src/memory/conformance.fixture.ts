import type { Broker, ConformanceTarget } from "@waybill/conformance";
import { memoryBroker, type MemoryBroker } from "./broker.ts";
import type { MemoryOptions } from "./options.ts";

/** A target of the conformance suite for one shape. Brokers live in this process: a connection is a number. */
export function memoryTarget(name: string, options: MemoryOptions): ConformanceTarget {
  const brokers = new Map<number, MemoryBroker>();
  let started = 0;
  return {
    name,
    processes: false,
    clocked: true,
    async start(clock): Promise<Broker> {
      const broker = memoryBroker(clock === undefined ? options : { ...options, clock });
      const connection = (started += 1);
      brokers.set(connection, broker);
      return {
        connection,
        faults: {
          block: () => broker.block(),
          holdConfirms: () => broker.block("confirms"),
          unblock: () => broker.unblock(),
          stop: () => broker.stop(),
          start: () => broker.start(),
          crash: (transport) => broker.crash(transport),
        },
        [Symbol.asyncDispose]: async () => void brokers.delete(connection),
      };
    },
    open(connection) {
      const broker = brokers.get(connection as number);
      if (broker === undefined) throw new Error("no such broker in this process");
      return broker.open();
    },
  };
}
