import { randomUUID } from "node:crypto";
import amqplib, { type ConfirmChannel, type ConsumeMessage } from "amqplib";

/**
 * What one writes with amqplib by hand: a confirm channel whose callback is awaited for every message; persistent events with an
 * id, a time, a key and a version, by a topic exchange to a durable quorum queue, as ours go; a consumer with a prefetch that awaits its handler and acknowledges every message. It has one
 * connection, and no second try, time-out, header of a contract, recovery or order.
 */
export interface BareRabbitmq {
  /** Resolves when the broker has confirmed it. */
  publish(body: Uint8Array, key: string): Promise<void>;
  /** Until `count` more were handled and their acknowledgements are written. */
  consume(count: number, handle: (body: Uint8Array) => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

const exchange = "bench-bare";
const queue = "bench-bare:bench.measured";
const routingKey = "bench.measured";
const prefetch = 500;

export async function openBareRabbitmq(url: string): Promise<BareRabbitmq> {
  const connection = await amqplib.connect(url);
  const publishing: ConfirmChannel = await connection.createConfirmChannel();
  await publishing.assertExchange(exchange, "topic", { durable: true });
  await publishing.assertQueue(queue, { durable: true, arguments: { "x-queue-type": "quorum" } });
  await publishing.bindQueue(queue, exchange, routingKey);
  return {
    publish: (body, key) =>
      new Promise((resolve, reject) => {
        const now = Date.now();
        const options = {
          persistent: true,
          contentType: "application/octet-stream",
          messageId: randomUUID(),
          timestamp: Math.floor(now / 1000),
          headers: { key, version: "1", time: String(now) },
        };
        const content = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
        publishing.publish(exchange, routingKey, content, options, (error: unknown) =>
          error === null || error === undefined ? resolve() : reject(error),
        );
      }),
    async consume(count, handle) {
      const channel = await connection.createChannel();
      await channel.prefetch(prefetch);
      let left = count;
      await new Promise<void>((resolve, reject) => {
        const take = async (message: ConsumeMessage | null): Promise<void> => {
          if (message === null) throw new Error("the broker cancelled the consumer");
          await handle(message.content);
          channel.ack(message);
          left -= 1;
          if (left === 0) resolve();
        };
        channel.consume(queue, (message) => void take(message).catch(reject)).catch(reject);
      });
      // What is written comes before the answer to this.
      await channel.close();
    },
    close: () => connection.close(),
  };
}
