import assert from "node:assert/strict";
import { test } from "node:test";
import type { Order } from "./contracts.ts";
import { generate, sleepUntil, type GeneratorOptions } from "./generator.ts";
import { orderOf } from "./seed.ts";

async function all(options: Partial<GeneratorOptions>): Promise<Order[]> {
  const orders: Order[] = [];
  const signal = new AbortController().signal;
  for await (const order of generate({ seed: 5, from: 0, count: 10, ratePerSecond: undefined, signal, ...options })) orders.push(order);
  return orders;
}

test("the orders are the seed's, from the number that is asked for", async () => {
  assert.deepEqual(
    await all({}),
    Array.from({ length: 10 }, (_, index) => orderOf(5, index)),
  );
  assert.deepEqual(await all({ from: 100, count: 1 }), [orderOf(5, 100)]);
});

test("it keeps its rate", async () => {
  const startedAt = performance.now();
  await all({ count: 21, ratePerSecond: 200 });
  const elapsedMs = performance.now() - startedAt;
  assert.ok(elapsedMs >= 95, `${elapsedMs} ms`);
});

test("a signal ends it, and a rate of none gives none until then", async () => {
  const soon = (): AbortSignal => AbortSignal.timeout(30);
  assert.deepEqual(await all({ count: undefined, ratePerSecond: 0, signal: soon() }), []);
  assert.equal((await all({ count: undefined, ratePerSecond: 0.001, signal: soon() })).length, 1);
  assert.deepEqual(await all({ signal: AbortSignal.abort() }), []);
  const startedAt = performance.now();
  await sleepUntil(startedAt + 60_000, soon());
  assert.ok(performance.now() - startedAt < 30_000);
});
