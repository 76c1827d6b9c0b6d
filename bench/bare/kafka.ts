import { Producer } from "@platformatic/kafka";

/**
 * What one writes with @platformatic/kafka by hand: an idempotent producer with acks of all replicas, and either one `send` a
 * message, awaited by each of many callers, or batches that the caller has made, one after the other.
 */
export interface BareKafka {
  single(body: Uint8Array): Promise<void>;
  batch(bodies: readonly Uint8Array[]): Promise<void>;
  close(): Promise<void>;
}

export async function openBareKafka(broker: string, topic: string, key: string): Promise<BareKafka> {
  const producer = new Producer({
    clientId: "bench-bare",
    bootstrapBrokers: [broker],
    idempotent: true,
    acks: -1,
    retries: 3,
    retryDelay: 100,
  });
  const keyBytes = Buffer.from(key);
  const messageOf = (body: Uint8Array) => ({
    topic,
    key: keyBytes,
    value: Buffer.from(body.buffer, body.byteOffset, body.byteLength),
    headers: new Map([[Buffer.from("content-type"), Buffer.from("application/octet-stream")]]),
  });
  return {
    async single(body) {
      await producer.send({ messages: [messageOf(body)] });
    },
    async batch(bodies) {
      await producer.send({ messages: bodies.map(messageOf) });
    },
    close: () => producer.close(),
  };
}
