import { after, before } from "node:test";
import type { BrokerName, RunningBroker, StartOptions } from "@waybill/brokers";
import { createBus, type Bus, type BusOptions, type Delivery, type Message, type SubscribeRequest, type Subscription } from "@waybill/core";
import type { RabbitmqOptions } from "./options.ts";
import { rabbitmq, type RabbitmqTransport } from "./transport.ts";

const waitMs = 20_000;
let names = 0;

export interface Server {
  readonly running: RunningBroker;
  /** Closed after the tests. */
  bus(options?: RabbitmqOptions, more?: Partial<BusOptions>): Bus;
  transport(options?: RabbitmqOptions): Promise<RabbitmqTransport>;
}

/** One server for the tests of a file. */
export function withServer(name: BrokerName, settings?: StartOptions): Server {
  let running: RunningBroker | undefined;
  const open: (() => Promise<unknown>)[] = [];
  before(async () => {
    const { startBroker } = await import("@waybill/brokers");
    running = await startBroker(name, settings);
  });
  after(async () => {
    for (const close of open.toReversed()) await close();
    await running?.[Symbol.asyncDispose]();
  });
  const server: Server = {
    get running() {
      if (running === undefined) throw new Error("no server yet");
      return running;
    },
    bus(options = {}, more = {}) {
      const transport = rabbitmq({ url: server.running.url, watchEvery: "200ms", ...options });
      const bus = createBus({ name: "test", transport, ...more });
      open.push(() => bus.close({ drain: 0 }));
      return bus;
    },
    async transport(options = {}) {
      const transport = rabbitmq({ url: server.running.url, watchEvery: "200ms", ...options });
      open.push(() => transport.close());
      await transport.connect({ signal: AbortSignal.timeout(waitMs), onStatus: () => undefined });
      return transport;
    },
  };
  return server;
}

export const unique = (label: string): string => `${label}.${process.pid}.${(names += 1)}`;

export async function until(what: string, condition: () => boolean | Promise<boolean>, limitMs: number = waitMs): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`${what}: not within ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export function message(topic: string, fields: Partial<Message> = {}): Message {
  return {
    id: unique("m"),
    topic,
    group: undefined,
    key: undefined,
    body: Buffer.from("{}"),
    headers: Object.create(null) as Record<string, string>,
    time: Date.now(),
    deliverAt: undefined,
    expiresAt: undefined,
    priority: undefined,
    replyTo: undefined,
    correlationId: undefined,
    mandatory: false,
    native: undefined,
    ...fields,
  };
}

export interface Taken {
  readonly subscription: Subscription;
  readonly got: Delivery[];
}

export async function subscribe(transport: RabbitmqTransport, fields: Partial<SubscribeRequest>): Promise<Taken> {
  const subscription = await transport.subscribe({
    topic: undefined,
    pattern: undefined,
    group: undefined,
    from: "latest",
    credit: { messages: 100, bytes: 1 << 20 },
    leaseMs: 30_000,
    order: "none",
    inbox: false,
    native: undefined,
    signal: AbortSignal.timeout(waitMs),
    onEvent: () => undefined,
    ...fields,
  });
  const got: Delivery[] = [];
  void (async () => {
    for await (const batch of subscription.deliveries()) got.push(...batch);
  })();
  return { subscription, got };
}
