import type { TestContext } from "node:test";
import { createBus } from "../bus.ts";
import type { Bus } from "../bus-types.ts";
import { event, type Contract } from "../contract.ts";
import { memoryBroker, type MemoryBroker } from "../memory/broker.ts";
import type { Message, Transport } from "../transport.ts";
import { hybrid } from "./hybrid.ts";
import type { HybridOptions } from "./routes.ts";

export const Order: Contract<{ n: number }> = event<{ n: number }>("orders.placed", { key: ({ n }) => String(n) });
export const Reading: Contract<{ n: number }> = event<{ n: number }>("telemetry.reading");
export const never: AbortSignal = new AbortController().signal;

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
  return {
    id: Math.random().toString(36),
    topic,
    group: undefined,
    key: undefined,
    body: {},
    headers: Object.create(null) as Record<string, string>,
    time: 0,
    deliverAt: undefined,
    expiresAt: undefined,
    priority: undefined,
    replyTo: undefined,
    correlationId: undefined,
    mandatory: false,
    native: undefined,
    ...more,
  };
}

export async function connected(t: TestContext, transport: Transport): Promise<Transport> {
  t.after(() => transport.close());
  await transport.connect({ signal: never, onStatus: () => undefined });
  return transport;
}
