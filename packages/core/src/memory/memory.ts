import { assertOptions, type ObjectSpec } from "../config.ts";
import { memoryBroker, type MemoryBroker } from "./broker.ts";
import type { MemoryTransport } from "./link.ts";
import type { MemoryOptions } from "./options.ts";

/** All else belongs to the broker. */
const shared: ObjectSpec = { broker: { type: "shape", methods: ["open", "crash"], name: "a memoryBroker()", required: true } };

/**
 * A transport within this process: for tests, for development, and for parts of one process that should not know each other.
 * The reference for whoever writes an adapter: `link.ts` is the contract as a transport keeps it (connection, statuses, what is
 * definite and what is not); `queue.ts`, `log.ts` and `push.ts` are the three shapes of brokers behind it.
 * With `broker` it is one of several on the same one; otherwise it has its own.
 * @throws `CONFIG`
 */
export function memory(options: MemoryOptions | { readonly broker: MemoryBroker } = {}): MemoryTransport {
  if (!("broker" in options)) return memoryBroker(options).open();
  assertOptions(options, shared, "memory");
  return options.broker.open();
}
