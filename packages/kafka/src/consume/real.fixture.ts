import { randomBytes } from "node:crypto";
import { startBroker, type RunningBroker } from "@waybill/brokers";
import type { Delivery, Message, SubscribeRequest, Subscription, SubscriptionEvent } from "@waybill/core";
import { kafka, type KafkaTransport } from "../kafka.ts";
import type { KafkaOptions } from "../options.ts";

/** A real server, and what tests open on it. */
export interface Real extends AsyncDisposable {
  readonly broker: RunningBroker;
  readonly address: string;
  unique(label: string): string;
  /** Connected; closed with this. */
  open(options?: KafkaOptions): Promise<KafkaTransport>;
}

export async function startReal(): Promise<Real> {
  const broker = await startBroker("kafka");
  const address = `${broker.host}:${broker.port}`;
  const run = randomBytes(3).toString("hex");
  const opened: KafkaTransport[] = [];
  let names = 0;
  return {
    broker,
    address,
    unique: (label) => `t${run}.${label}.${(names += 1)}`,
    async open(options = {}) {
      const transport = kafka({ brokers: address, topics: { partitions: 4 }, ...options });
      opened.push(transport);
      await transport.connect({ signal: AbortSignal.timeout(20_000), onStatus: () => undefined });
      return transport;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(opened.map((transport) => transport.close()));
      await broker[Symbol.asyncDispose]();
    },
  };
}

export function messageOf(topic: string, fields: Partial<Message> = {}): Message {
  return {
    id: `m-${randomBytes(8).toString("hex")}`,
    topic,
    group: undefined,
    key: undefined,
    body: Buffer.from("a body"),
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

export async function publishAll(transport: KafkaTransport, messages: readonly Message[]): Promise<void> {
  for (let at = 0; at < messages.length; at += 200) {
    const outcomes = await transport.publish(messages.slice(at, at + 200), { signal: AbortSignal.timeout(20_000) });
    for (const outcome of outcomes) if (!outcome.ok) throw outcome.error;
  }
}

/** A subscription whose deliveries are kept as they come. */
export interface Kept {
  readonly subscription: Subscription;
  readonly got: Delivery[];
  readonly events: SubscriptionEvent[];
  /** Each as it was acknowledged, when the outcome was `done`. */
  readonly acked: Delivery[];
}

export async function keep(transport: KafkaTransport, fields: Partial<SubscribeRequest>, acks = true): Promise<Kept> {
  const events: SubscriptionEvent[] = [];
  const subscription = await transport.subscribe({
    topic: undefined,
    pattern: undefined,
    group: undefined,
    from: "latest",
    credit: { messages: 1_000, bytes: 64 << 20 },
    leaseMs: 30_000,
    order: "none",
    inbox: false,
    native: undefined,
    signal: AbortSignal.timeout(20_000),
    ...fields,
    onEvent(event) {
      events.push(event);
      return fields.onEvent?.(event);
    },
  });
  const kept: Kept = { subscription, got: [], events, acked: [] };
  void (async () => {
    for await (const batch of subscription.deliveries()) {
      kept.got.push(...batch);
      if (!acks) continue;
      const outcomes = await subscription.settle(batch.map((delivery) => ({ kind: "ack", delivery })));
      batch.forEach((delivery, index) => {
        if (outcomes[index] === "done") kept.acked.push(delivery);
      });
    }
  })();
  return kept;
}

export async function until(what: string, condition: () => boolean | Promise<boolean>, waitMs = 15_000): Promise<void> {
  const end = performance.now() + waitMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`${what}: not within ${waitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export const idsOf = (deliveries: readonly Delivery[]): string[] => deliveries.map(({ message }) => message.id);
