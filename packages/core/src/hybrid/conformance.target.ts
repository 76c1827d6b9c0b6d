import type { Broker, ConformanceTarget } from "@waybill/conformance";
import { memoryBroker, type MemoryBroker } from "../memory/broker.ts";
import type { Transport } from "../transport.ts";
import { hybrid } from "./hybrid.ts";

interface Pair {
  readonly brokers: readonly [MemoryBroker, MemoryBroker];
  readonly opened: Map<Transport, readonly Transport[]>;
}

const pairs = new Map<number, Pair>();
let started = 0;

/** Two queues under one hybrid: it has to keep every promise that each of them keeps. The topics of the suite have all but one route. */
export const target: ConformanceTarget = {
  name: "hybrid",
  processes: false,
  clocked: true,
  async start(clock): Promise<Broker> {
    const options = { deduplicationWindow: "1m", ...(clock === undefined ? {} : { clock }) } as const;
    const brokers = [memoryBroker(options), memoryBroker(options)] as const;
    const pair: Pair = { brokers, opened: new Map() };
    const connection = (started += 1);
    pairs.set(connection, pair);
    const both = (act: (broker: MemoryBroker) => void): void => brokers.forEach(act);
    return {
      connection,
      faults: {
        block: () => both((broker) => broker.block()),
        holdConfirms: () => both((broker) => broker.block("confirms")),
        unblock: () => both((broker) => broker.unblock()),
        stop: () => both((broker) => broker.stop()),
        start: () => both((broker) => broker.start()),
        crash: (transport) => pair.opened.get(transport)?.forEach((inner, index) => brokers[index]?.crash(inner)),
      },
      [Symbol.asyncDispose]: async () => void pairs.delete(connection),
    };
  },
  open(connection) {
    const pair = pairs.get(connection as number);
    if (pair === undefined) throw new Error("no such broker in this process");
    const inner = pair.brokers.map((broker) => broker.open());
    const [first, second] = inner as [Transport, Transport];
    const transport = hybrid({ routes: [{ match: ["nobody.>", "*.a", "*.*.a"], transport: first }], fallback: second });
    pair.opened.set(transport, inner);
    return transport;
  },
};
