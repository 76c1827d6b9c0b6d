import amqplib, { type ConfirmChannel, type ConsumeMessage } from "amqplib";

/**
 * What one writes with amqplib by hand: a confirm channel whose callback is awaited for every message, persistent messages on
 * a durable quorum queue; a consumer with a prefetch that awaits its handler and acknowledges every message. It has one
 * connection, and no second try, time-out, header of a contract, recovery or order.
 */
export interface BareRabbitmq {
  /** Resolves when the broker has confirmed it. */
  publish(body: Uint8Array): Promise<void>;
  /** Until `count` more were handled and their acknowledgements are written. */
  consume(count: number, handle: (body: Uint8Array) => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

const queue = "bench-bare";
const prefetch = 500;

export async function openBareRabbitmq(url: string): Promise<BareRabbitmq> {
  const connection = await amqplib.connect(url);
  const publishing: ConfirmChannel = await connection.createConfirmChannel();
  await publishing.assertQueue(queue, { durable: true, arguments: { "x-queue-type": "quorum" } });
  const options = { persistent: true, contentType: "application/octet-stream" };
  return {
    publish: (body) =>
      new Promise((resolve, reject) => {
        publishing.sendToQueue(queue, Buffer.from(body.buffer, body.byteOffset, body.byteLength), options, (error: unknown) =>
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
