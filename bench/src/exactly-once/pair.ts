import { join } from "node:path";
import { createBus, createIds, event, type Contract } from "@waybill/core";
import { embedded, type EmbeddedTx } from "@waybill/embedded";
import { collect } from "../collect.ts";
import { openBareLoop, skus } from "./bare-loop.ts";

export const Ordered: Contract<Uint8Array> = event<Uint8Array>("bench.ordered", { contentType: "application/octet-stream" });
export const Reserved: Contract<Uint8Array> = event<Uint8Array>("bench.reserved", { contentType: "application/octet-stream" });
export const makeStock = "create table if not exists stock (sku integer primary key, taken integer not null)";
export const takeStock = "update stock set taken = taken + 1 where sku = ?";

/** Messages per second of what waits, until the last effect and its acknowledgement are committed. */
export interface Pair {
  ours(count: number): Promise<number>;
  bare(count: number): Promise<number>;
  close(): Promise<void>;
}

/** @throws Error if an effect was lost or applied twice: a figure of work that was not done would be worth nothing */
export async function openPair(directory: string, options: { readonly concurrency: number; readonly perCommit: number }): Promise<Pair> {
  const transport = embedded({ path: join(directory, "ours.db") });
  const bus = createBus({ name: "bench", transport });
  let left = 0;
  let started = 0;
  let finished = (): void => undefined;
  const subscription = bus.subscribe<Uint8Array, Uint8Array, EmbeddedTx>(
    Ordered,
    { group: "bench", concurrency: options.concurrency, exactlyOnce: transport.store },
    async (body, ctx) => {
      started += 1;
      await ctx.tx.run(takeStock, [started % skus]);
      await ctx.publish(Reserved, body);
      left -= 1;
      if (left === 0) finished();
    },
  );
  await bus.start();
  await bus.transact(transport.store, async ({ tx }) => {
    await tx.run(makeStock);
    for (let sku = 0; sku < skus; sku += 1) await tx.run("insert into stock values (?, 0)", [sku]);
  });
  subscription.pause();
  const body = new Uint8Array(100).fill(0x78);
  const bare = openBareLoop(directory, options.perCommit, createIds());
  let expected = 0;
  let expectedBare = 0;

  function check(what: string, applied: number, wanted: number): void {
    if (applied !== wanted) throw new Error(`${what}: ${applied} effects of ${wanted} messages`);
  }

  return {
    async ours(count) {
      await bus.publishMany(
        Ordered,
        Array.from({ length: count }, () => body),
      );
      left = count;
      expected += count;
      const handled = new Promise<void>((resolve) => (finished = resolve));
      collect();
      const began = performance.now();
      subscription.resume();
      await handled;
      while (subscription.status().unsettled > 0) await new Promise((resolve) => setImmediate(resolve));
      const rate = (count * 1000) / (performance.now() - began);
      subscription.pause();
      const [row] = await transport.client.query("select sum(taken) as n from stock");
      check("ours", Number(row?.["n"]), expected);
      return rate;
    },
    async bare(count) {
      bare.fill(count);
      expectedBare += count;
      collect();
      const began = performance.now();
      await bare.run();
      const rate = (count * 1000) / (performance.now() - began);
      check("bare", bare.applied(), expectedBare);
      return rate;
    },
    async close() {
      bare.close();
      await bus.close();
    },
  };
}
