import assert from "node:assert/strict";
import { test } from "node:test";
import { memoryStore, testBus, type MemoryStore, type MemoryTx, type TestBus } from "@waybill/testing";
import { event } from "./contract.ts";
import { WaybillError } from "./errors.ts";
import { fixed } from "./retry.ts";
import type { StoreTransaction } from "./store/store.ts";

const Order = event<{ id: string; quantity: number }>("order", { key: ({ id }) => id });
const Reserved = event<{ id: string }>("reserved");
const counters = (t: TestBus) => t.metrics().groups["order"]?.["stock"];
const retry = { attempts: 3, backoff: fixed("1s", { jitter: "none" }) } as const;

/** The same store, whose transactions say `over` as well. */
function saying(over: (transaction: StoreTransaction<MemoryTx>) => Partial<StoreTransaction<MemoryTx>>): MemoryStore {
  const store = memoryStore();
  const { begin } = store;
  return Object.assign(store, {
    begin(options: { readonly signal: AbortSignal }) {
      const transaction = begin(options);
      return Object.assign(transaction, over(transaction));
    },
  });
}

test("what a handler throws because the store failed under it is not counted, its verdict is", async () => {
  const store = saying(() => ({ failure: new WaybillError("CONNECTION_LOST", "the link broke", { certainty: "definite" }) }));
  let calls = 0;
  await using t = await testBus((bus) => {
    bus.subscribe(Order, { group: "stock", exactlyOnce: store, retry }, (order, ctx) => {
      calls += 1;
      if (order.id === "verdict") ctx.deadLetter("no");
      if (calls < 6) throw new Error("a statement failed");
    });
  });
  await t.publish(Order, { id: "a", quantity: 1 });
  await t.advance("1m");
  assert.deepEqual([calls, counters(t)?.failed, counters(t)?.handled], [6, 0, 1]);
  await t.publish(Order, { id: "verdict", quantity: 1 });
  await t.advance("1m");
  assert.equal((await t.deadLetters(Order, { group: "stock" }))[0]?.cause.code, "DEAD_LETTER");
});

for (const step of ["claim", "enqueue", "commit"] as const) {
  test(`what the store refuses for good (${step}) is the handler's failure, and ends as a dead letter`, async () => {
    const store = saying(({ rollback }) => ({
      async [step]() {
        await rollback();
        throw new WaybillError("STORE", "a broken constraint", { retryable: false });
      },
    }));
    await using t = await testBus((bus) => {
      bus.subscribe(Order, { group: "stock", exactlyOnce: store, retry }, (order, ctx) => ctx.publish(Reserved, { id: order.id }));
    });
    await t.publish(Order, { id: "a", quantity: 1 });
    await t.advance("1m");
    assert.equal((await t.deadLetters(Order, { group: "stock" }))[0]?.cause.code, "STORE");
    assert.deepEqual([store.inbox(), t.published(Reserved)], [[], []]);
  });
}

test("the inbox rows of a batch are claimed together", async () => {
  let open = 0;
  let most = 0;
  const store = saying(({ claim }) => ({
    async claim(group, id) {
      open += 1;
      most = Math.max(most, open);
      const claimed = await claim(group, id);
      open -= 1;
      return claimed;
    },
  }));
  await using t = await testBus((bus) => {
    bus.subscribeBatch(Order, { group: "stock", size: 5, within: "1s", exactlyOnce: store, retry }, async () => undefined);
  });
  await Promise.all(Array.from({ length: 5 }, (_, n) => t.publish(Order, { id: String(n), quantity: 1 })));
  await t.advance("2s");
  assert.deepEqual([most, store.inbox().length], [5, 5]);
});
