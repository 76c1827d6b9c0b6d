import type { TestContext } from "node:test";
import { createBus } from "../bus.ts";
import type { Bus } from "../bus-types.ts";
import { event, type Contract } from "../contract.ts";
import { memoryBroker, type MemoryBroker } from "../memory/broker.ts";
import { messageOf, never } from "../transport.fixture.ts";
import type { Message, Transport } from "../transport.ts";
import { hybrid } from "./hybrid.ts";
import type { HybridOptions } from "./routes.ts";

export const Order: Contract<{ n: number }> = event<{ n: number }>("orders.placed", { key: ({ n }) => String(n) });
export const Reading: Contract<{ n: number }> = event<{ n: number }>("telemetry.reading");
export interface Pair {
  readonly fast: MemoryBroker;
  readonly safe: MemoryBroker;
  readonly open: (options?: Partial<HybridOptions>) => Transport;
  readonly start: (t: TestContext, define?: (bus: Bus) => void) => Promise<Bus>;
}

export function pair(): Pair {
  const fast = memoryBroker({ shape: "push" });
  const safe = memoryBroker();
  const open = (options: Partial<HybridOptions> = {}): Transport =>
    hybrid({ routes: [{ match: "telemetry.>", transport: fast.open() }], fallback: safe.open(), ...options });
  return {
    fast,
    safe,
    open,
    async start(t, define) {
      const bus = createBus({ name: "shop", transport: open() });
      t.after(() => bus.close({ drain: 0 }));
      define?.(bus);
      await bus.start();
      return bus;
    },
  };
}

export function message(topic: string, more: Partial<Message> = {}): Message {
  return messageOf({ id: Math.random().toString(36), topic, body: {}, ...more });
}

export async function connected(t: TestContext, transport: Transport): Promise<Transport> {
  t.after(() => transport.close());
  await transport.connect({ signal: never, onStatus: () => undefined });
  return transport;
}
