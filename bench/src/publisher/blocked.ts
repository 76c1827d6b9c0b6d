import { createBus, event, isWaybillError, memoryBroker } from "@waybill/core";
import type { Bench } from "../bench.ts";
import { memoryBytes } from "../collect.ts";

const callers = 1000;
const perCaller = 1000;
const bodyBytes = 1024;
const Blob = event<Uint8Array>("bench.blob", { contentType: "application/octet-stream" });

/**
 * A broker that takes nothing, and callers that do not care: memory stays bounded, and every refusal is told. Always in full
 * size: the goal is a number of messages.
 */
export const publisherBlocked: Bench = {
  name: "publisher-blocked",
  goals: [
    { name: "blocked-memory", unit: "MiB", goal: 64, atLeast: false, pick: "worst" },
    { name: "blocked-refused", unit: "messages", goal: 900_001, atLeast: true },
    { name: "blocked-unaccounted", unit: "messages", goal: 0, atLeast: false, pick: "worst" },
  ],
  figures: [
    { name: "blocked attempts", unit: "publishes/s" },
    { name: "blocked buffered", unit: "messages" },
    { name: "blocked waiting", unit: "messages" },
  ],
  processes: 2,
  rounds: 1,
  async measure() {
    const broker = memoryBroker();
    const bus = createBus({ name: "bench", transport: broker.open() });
    bus.subscribe(Blob, { group: "bench" }, async () => undefined);
    await bus.start();
    broker.block();

    let refused = 0;
    let others = 0;
    const countRefusal = (error: unknown): void => {
      if (isWaybillError(error, "BUFFER_FULL")) refused += 1;
      else others += 1;
    };
    const caller = async (): Promise<void> => {
      for (let left = perCaller; left > 0; left -= 1) {
        // Not awaited: only what is refused is looked at, so that nobody keeps the promise of what waits.
        bus.publish(Blob, new Uint8Array(bodyBytes)).catch(countRefusal);
      }
    };
    const before = memoryBytes();
    const began = performance.now();
    await Promise.all(Array.from({ length: callers }, caller));
    await new Promise((resolve) => setImmediate(resolve));
    const seconds = (performance.now() - began) / 1000;
    const grown = memoryBytes() - before;
    const attempts = callers * perCaller;
    const { buffered, waiting } = bus.status().publishing;
    const unaccounted = Math.abs(attempts - buffered - waiting - refused) + others;
    broker.unblock();
    await bus.close({ drain: "5s" });
    return {
      "blocked-memory": [grown / 2 ** 20],
      "blocked-refused": [refused],
      "blocked-unaccounted": [unaccounted],
      "blocked attempts": [attempts / seconds],
      "blocked buffered": [buffered],
      "blocked waiting": [waiting],
    };
  },
};
