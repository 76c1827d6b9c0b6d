import { createBus, event, type Bus, type Contract } from "@waybill/core";
import { openTransport } from "@waybill/transports";

export const body: Uint8Array = new Uint8Array(100).fill(0x78);
export const key = "customer-17";
const Measured: Contract<Uint8Array> = event<Uint8Array>("bench.measured", { contentType: "application/octet-stream", key: () => key });

const inFlight = 1000;

/** Calls `publish` so many times, 1,000 at once, each caller awaiting its own. */
export async function publishAll(count: number, publish: () => Promise<unknown>): Promise<void> {
  let left = count;
  const each = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await publish();
    }
  };
  await Promise.all(Array.from({ length: inFlight }, each));
}

/** Messages per second. */
export async function rateOf(count: number, work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (count * 1000) / (performance.now() - began);
}

export interface Ours {
  publish(count: number): Promise<number>;
  publishMany(count: number, size: number): Promise<number>;
  /** Of what was published: until the last is handled and its acknowledgement is settled. */
  consume(count: number): Promise<number>;
  close(): Promise<void>;
}

/** The whole bus, all by default but the credit, which is the bare client's prefetch. */
export async function openOurs(url: string): Promise<Ours> {
  const bus: Bus = createBus({ name: "bench", transport: await openTransport(url) });
  let left = 0;
  let finished = (): void => undefined;
  const subscription = bus.subscribe(Measured, { group: "bench", concurrency: 32, credit: { messages: 500 } }, async () => {
    left -= 1;
    if (left === 0) finished();
  });
  await bus.start({ signal: AbortSignal.timeout(30_000) });
  subscription.pause();
  return {
    publish: (count) => rateOf(count, () => publishAll(count, () => bus.publish(Measured, body))),
    publishMany: (count, size) =>
      rateOf(count, async () => {
        const bodies = Array.from({ length: size }, () => body);
        for (let at = 0; at < count; at += size) await bus.publishMany(Measured, bodies);
      }),
    consume: (count) =>
      rateOf(count, async () => {
        left = count;
        const handled = new Promise<void>((resolve) => (finished = resolve));
        subscription.resume();
        await handled;
        while (subscription.status().unsettled > 0) await new Promise((resolve) => setImmediate(resolve));
        subscription.pause();
      }),
    close: () => bus.close(),
  };
}
