import { createBus, event, memory, type Bus, type Contract, type HandleMiddleware, type MemoryOptions } from "@waybill/core";

export interface Thing {
  readonly id: string;
  readonly text: string;
}
export const Happened: Contract<Thing> = event<Thing>("bench.happened");

/** A bus with its one subscription, and the two ends of what goes through it. */
export interface Traffic {
  /** 1,000 publishers, each awaiting its own publish; answers messages per second, until the last is handled. */
  publish(count: number): Promise<number>;
  close(): Promise<void>;
}

const publishers = 1000;

export async function openTraffic(options: {
  readonly middleware?: readonly HandleMiddleware[];
  readonly transport?: MemoryOptions;
  readonly body: Thing;
}): Promise<Traffic> {
  const bus: Bus = createBus({ name: "bench", transport: memory(options.transport ?? {}), middleware: options.middleware ?? [] });
  let left = 0;
  let finished = (): void => undefined;
  bus.subscribe(Happened, { group: "bench", concurrency: 32, credit: { messages: 1000 } }, async () => {
    left -= 1;
    if (left === 0) finished();
  });
  await bus.start();

  return {
    async publish(count) {
      left = count;
      const handled = new Promise<void>((resolve) => (finished = resolve));
      let unpublished = count;
      const began = performance.now();
      const each = async (): Promise<void> => {
        while (unpublished > 0) {
          unpublished -= 1;
          await bus.publish(Happened, options.body);
        }
      };
      await Promise.all(Array.from({ length: publishers }, each));
      await handled;
      return (count * 1000) / (performance.now() - began);
    },
    close: () => bus.close(),
  };
}

/** A body whose JSON has so many bytes. */
export function bodyOf(bytes: number): Thing {
  const id = "0123456789abcdef";
  return { id, text: "x".repeat(bytes - JSON.stringify({ id, text: "" }).length) };
}
