import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import { join } from "node:path";
import { createBus, createIds, event, type Bus, type Contract, type SubscriptionHandle } from "@waybill/core";
import { embedded } from "@waybill/embedded";
import { openBareLog } from "./bare-log.ts";

/** The same work for us and for the bare loop. Each answers messages per second. */
export interface Side {
  /** 1,000 in flight, each awaiting its own. */
  publish(count: number): Promise<number>;
  /** Of what was published and not consumed: until the last is handled and its acknowledgement is on the disk. */
  consume(count: number): Promise<number>;
  /** Publishes and consumes at the same time. */
  both(count: number): Promise<number>;
  close(): Promise<void>;
}

const inFlight = 1000;
const body = new Uint8Array(100).fill(0x78);
const key = "customer-17";
export const Stored: Contract<Uint8Array> = event<Uint8Array>("bench.stored", {
  contentType: "application/octet-stream",
  key: () => key,
});

async function publishAll(count: number, publish: () => Promise<unknown>): Promise<void> {
  let left = count;
  const each = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await publish();
    }
  };
  await Promise.all(Array.from({ length: inFlight }, each));
}

/** No collection is forced: that would have both sides, and two threads of ours, grow their heaps anew within each short round. */
async function rateOf(count: number, work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (count * 1000) / (performance.now() - began);
}

export function openBare(directory: string): Side {
  const log = openBareLog(directory);
  const nextId = createIds();
  const publish = (count: number): Promise<void> => publishAll(count, () => log.append(nextId(), key, body));
  let handled = 0;
  const consume = (count: number): Promise<void> =>
    log.consume(count, async () => {
      handled += 1;
    });
  return {
    publish: (count) => rateOf(count, () => publish(count)),
    consume: (count) => rateOf(count, () => consume(count)),
    both: (count) => rateOf(count, () => Promise.all([publish(count), consume(count)])),
    async close() {
      log.close();
    },
  };
}

/** The whole bus: contract, publisher, worker, file, worker, executor, handler, acknowledgement on the disk. All by default. */
export async function openOurs(directory: string): Promise<Side> {
  const bus: Bus = createBus({ name: "bench", transport: embedded({ path: join(directory, "ours.db") }) });
  let left = 0;
  let finished = (): void => undefined;
  const subscription = bus.subscribe(Stored, { group: "bench", concurrency: 32, credit: { messages: 4000 } }, async () => {
    left -= 1;
    if (left === 0) finished();
  });
  await bus.start();
  subscription.pause();

  const publish = (count: number): Promise<void> => publishAll(count, () => bus.publish(Stored, body));
  const consume = async (count: number): Promise<void> => {
    left = count;
    const handled = new Promise<void>((resolve) => (finished = resolve));
    subscription.resume();
    await handled;
    await settled(subscription);
    subscription.pause();
  };
  return {
    publish: (count) => rateOf(count, () => publish(count)),
    consume: (count) => rateOf(count, () => consume(count)),
    both: (count) => rateOf(count, () => Promise.all([publish(count), consume(count)])),
    close: () => bus.close(),
  };
}

/** `unsettled` falls when the file has the acknowledgement. */
async function settled(subscription: SubscriptionHandle): Promise<void> {
  while (subscription.status().unsettled > 0) await new Promise((resolve) => setImmediate(resolve));
}

/** The event loop's delay while `work` runs: the 99th percentile in ms, the interval of 1 ms between two looks included. */
export async function withLoopDelay<T>(
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly p99Ms: number; readonly maxMs: number }> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  try {
    const result = await work();
    return { result, p99Ms: delay.percentile(99) / 1e6, maxMs: delay.max / 1e6 };
  } finally {
    delay.disable();
  }
}
