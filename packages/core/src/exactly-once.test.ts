import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { crashEverywhere, memoryStore, testBus, type MemoryStore, type MemoryTx, type TestBus } from "@waybill/testing";
import { event } from "./contract.ts";
import { fixed } from "./retry.ts";

const Order = event<{ id: string; quantity: number }>("order", { key: ({ id }) => id });
const Reserved = event<{ id: string }>("reserved");
const refuses = { "~standard": { version: 1, vendor: "test", validate: () => ({ issues: [{ message: "never" }] }) } } as const;
const Bad = event("reserved", { schema: refuses });

const counters = (t: TestBus) => t.metrics().groups["order"]?.["stock"];
const retry = { attempts: 3, backoff: fixed("1s", { jitter: "none" }) } as const;

async function take(tx: MemoryTx, quantity: number): Promise<void> {
  await tx.set("stock", ((await tx.get<number>("stock")) ?? 10) - quantity);
}

async function withStock(work: (t: TestBus, store: MemoryStore) => Promise<void>, memory = {}): Promise<void> {
  const store = memoryStore();
  await using t = await testBus(
    (bus) => {
      bus.subscribe(Order, { group: "stock", exactlyOnce: store, retry }, async (order, ctx) => {
        await take(ctx.tx, order.quantity);
        await ctx.publish(Reserved, { id: order.id });
      });
    },
    { memory },
  );
  await work(t, store);
}

describe("exactly-once effect with a store", () => {
  test("write, inbox row and what is published commit together; a repeat of the id has no effect", () =>
    withStock(async (t, store) => {
      for (let times = 0; times < 3; times += 1) await t.publish(Order, { id: "a", quantity: 2 }, { id: "one" });
      await t.publish(Order, { id: "b", quantity: 1 });
      await t.advance("10s");
      assert.equal(store.get("stock"), 7);
      assert.deepEqual(
        t.published(Reserved).map(({ body, times }) => [body.id, times]),
        [
          ["a", 1],
          ["b", 1],
        ],
      );
      assert.deepEqual([counters(t)?.handled, counters(t)?.duplicates], [2, 2]);
      assert.equal(store.inbox().length, 2);
      assert.equal((await store.outbox.backlog()).rows, 0);
      assert.equal(t.metrics().bus.relayed, 2);
    }));

  test("what it publishes carries the correlation of its cause", () =>
    withStock(async (t) => {
      const { id } = await t.publish(Order, { id: "a", quantity: 1 });
      await t.advance("1s");
      assert.equal(t.published(Reserved)[0]?.message.correlationId, id);
    }));

  test("a handler that fails leaves nothing, and its next attempt has the whole effect once", async () => {
    const store = memoryStore();
    await using t = await testBus((bus) => {
      bus.subscribe(Order, { group: "stock", exactlyOnce: store, retry }, async (order, ctx) => {
        await take(ctx.tx, order.quantity);
        await ctx.publish(Reserved, { id: order.id });
        if (ctx.attempt < 3) throw new Error("after its writes");
      });
    });
    await t.publish(Order, { id: "a", quantity: 2 });
    await t.idle();
    assert.deepEqual([store.entries(), store.inbox(), t.published(Reserved)], [[], [], []]);
    await t.advance("10s");
    assert.deepEqual([store.get("stock"), t.published(Reserved).length], [8, 1]);
  });

  test("a verdict that was swallowed, and a publish that is refused, roll back", async () => {
    const store = memoryStore();
    await using t = await testBus((bus) => {
      bus.subscribe(Order, { group: "stock", exactlyOnce: store, retry: { ...retry, attempts: 1 } }, async (order, ctx) => {
        await take(ctx.tx, order.quantity);
        if (order.id === "verdict") {
          try {
            ctx.deadLetter("no");
          } catch {
            return;
          }
        }
        await ctx.publish(Bad, { id: order.id });
      });
    });
    for (const id of ["verdict", "bad"]) await t.publish(Order, { id, quantity: 1 });
    await t.advance("10s");
    assert.deepEqual([store.entries(), store.inbox()], [[], []]);
    assert.deepEqual(
      (await t.deadLetters(Order, { group: "stock" })).map(({ cause }) => cause.code),
      ["DEAD_LETTER", "VALIDATION"],
    );
  });

  for (const [how, repeats] of [
    ["before", 0],
    ["after", 0],
    ["refused", 0],
  ] as const) {
    test(`a commit that fails (${how}) is no failure of the handler: the effect is there once in the end`, () =>
      withStock(async (t, store) => {
        store.failCommits(how, 2);
        await t.publish(Order, { id: "a", quantity: 2 });
        await t.advance("1m");
        assert.equal(store.get("stock"), 8);
        assert.deepEqual(
          t.published(Reserved).map(({ times }) => times - 1),
          [repeats],
        );
        assert.deepEqual([counters(t)?.failed, counters(t)?.deadLettered], [0, 0]);
      }));
  }

  test("a store that is away does not use up attempts", () =>
    withStock(async (t, store) => {
      const stop = store.failCommits("before");
      await t.publish(Order, { id: "a", quantity: 2 });
      await t.advance("1m");
      assert.ok(t.attempts(Order).length > retry.attempts);
      stop();
      await t.advance("1m");
      assert.equal(store.get("stock"), 8);
      assert.deepEqual(await t.deadLetters(Order, { group: "stock" }), []);
    }));

  test("a handler that hangs is abandoned, its transaction ends, and the next attempt has the effect", async () => {
    const store = memoryStore();
    await using t = await testBus((bus) => {
      bus.subscribe(Order, { group: "stock", exactlyOnce: store, retry, timeout: "5s", grace: "1s" }, async (order, ctx) => {
        await take(ctx.tx, order.quantity);
        if (ctx.attempt === 1) await new Promise(() => undefined);
      });
    });
    await t.publish(Order, { id: "a", quantity: 2 });
    await t.advance("1m");
    assert.equal(store.get("stock"), 8);
    assert.deepEqual([counters(t)?.handled, counters(t)?.deadLettered], [1, 0]);
  });

  test("one that wakes up after its time can write and publish nothing", async () => {
    const store = memoryStore();
    const refused: string[] = [];
    await using t = await testBus((bus) => {
      bus.subscribe(Order, { group: "stock", exactlyOnce: store, retry, timeout: "5s", grace: "1s" }, async (order, ctx) => {
        if (ctx.attempt > 1) return take(ctx.tx, order.quantity);
        const { tx } = ctx;
        await tx.get("stock");
        await new Promise<void>((resolve) => t.clock.after(20_000, resolve));
        await tx.set("stock", -100).catch((error: { code: string }) => refused.push(error.code));
        await ctx.publish(Reserved, { id: "late" }).catch((error: { code: string }) => refused.push(error.code));
        try {
          return ctx.tx;
        } catch (error) {
          return refused.push((error as { code: string }).code);
        }
      });
    });
    await t.publish(Order, { id: "a", quantity: 2 });
    await t.advance("2m");
    assert.deepEqual(refused, ["CLOSED", "STALE_ATTEMPT", "STALE_ATTEMPT"]);
    assert.deepEqual([store.get("stock"), t.published(Reserved)], [8, []]);
  });

  test("the same id in another group, or on another topic, is another message", async () => {
    const store = memoryStore();
    const Other = event<{ id: string; quantity: number }>("other");
    await using t = await testBus((bus) => {
      for (const group of ["one", "two"])
        bus.subscribe(Order, { group, exactlyOnce: store, retry }, (order, ctx) => take(ctx.tx, order.quantity));
      bus.subscribe(Other, { group: "one", exactlyOnce: store, retry }, (order, ctx) => take(ctx.tx, order.quantity));
    });
    await t.publish(Order, { id: "a", quantity: 1 }, { id: "same" });
    await t.publish(Other, { id: "a", quantity: 1 }, { id: "same" });
    await t.advance("10s");
    assert.equal(store.get("stock"), 7);
  });

  test("transact: the outbox for code that is no handler", async () => {
    const store = memoryStore();
    await using t = await testBus(() => undefined, { bus: { outbox: [store] } });
    await t.bus.transact(store, async ({ tx, publish }) => {
      await tx.set("a", 1);
      await publish(Reserved, { id: "a" });
    });
    const failed = t.bus.transact(store, async ({ tx, publish }) => {
      await tx.set("a", 2);
      await publish(Reserved, { id: "b" });
      throw new Error("no");
    });
    await assert.rejects(failed, /no/);
    await t.advance("5s");
    assert.deepEqual([store.get("a"), t.published(Reserved).map(({ body }) => body.id)], [1, ["a"]]);
  });

  test("publish middleware sees what goes through the outbox as well", async () => {
    const store = memoryStore();
    const seen: string[] = [];
    await using t = await testBus(
      (bus) => {
        bus.subscribe(Order, { group: "stock", exactlyOnce: store, retry }, async (order, ctx) => {
          await ctx.publish(Reserved, { id: order.id });
        });
      },
      {
        bus: {
          publish: {
            middleware: [
              (call, next) => (
                seen.push(call.contract.topic),
                next({ ...call, options: { ...call.options, headers: { tenant: "acme" } } })
              ),
            ],
          },
        },
      },
    );
    await t.publish(Order, { id: "a", quantity: 1 });
    await t.bus.transact(store, async ({ publish }) => publish(Reserved, { id: "b" }));
    await t.advance("5s");
    assert.deepEqual(seen, ["order", "reserved", "reserved"]);
    assert.deepEqual(
      t.published(Reserved).map(({ message }) => message.headers["tenant"]),
      ["acme", "acme"],
    );
  });
});

describe("exactly-once effect of a batch", () => {
  test("commits together; one that fails is taken out and the others' effect is there once", async () => {
    const store = memoryStore();
    let broken = true;
    await using t = await testBus((bus) => {
      bus.subscribeBatch(Order, { group: "stock", size: 4, within: "1s", exactlyOnce: store, retry }, async (batch, { tx, publish }) => {
        for (const { body } of batch) await take(tx, body.quantity);
        for (const { body } of batch) await publish(Reserved, { id: body.id });
        return { failed: batch.filter(({ body }) => broken && body.id === "c") };
      });
    });
    await Promise.all(["a", "b", "c", "d"].map((id) => t.publish(Order, { id, quantity: 1 })));
    await t.advance("2s");
    assert.equal(store.get("stock"), 7);
    broken = false;
    await t.advance("1m");
    assert.equal(store.get("stock"), 6);
    assert.deepEqual(
      t
        .published(Reserved)
        .map(({ body, times }) => `${body.id} ${times}`)
        .toSorted(),
      ["a 1", "b 1", "c 1", "d 1"],
    );
  });

  test("one that throws is tried in halves, so that the bad one fails alone", async () => {
    const store = memoryStore();
    const sizes: number[] = [];
    await using t = await testBus((bus) => {
      bus.subscribeBatch(
        Order,
        { group: "stock", size: 8, within: "1s", exactlyOnce: store, retry: { attempts: 1 } },
        async (batch, { tx }) => {
          sizes.push(batch.length);
          for (const { body } of batch) {
            await take(tx, body.quantity);
            if (body.id === "5") throw new Error("bad");
          }
        },
      );
    });
    await Promise.all(Array.from({ length: 8 }, (_, n) => t.publish(Order, { id: String(n), quantity: 1 })));
    await t.advance("2s");
    assert.deepEqual(sizes, [8, 4, 4, 2, 1, 1, 2]);
    assert.equal(store.get("stock"), 3);
    assert.deepEqual(
      (await t.deadLetters(Order, { group: "stock" })).map(({ message }) => (message.body as { id: string }).id),
      ["5"],
    );
  });

  test("holds at every crash point, a repeat among the batch", async () => {
    await crashEverywhere(
      () => {
        const store = memoryStore();
        return {
          store,
          setup: (bus) =>
            void bus.subscribeBatch(
              Order,
              { group: "stock", size: 3, within: "1s", exactlyOnce: store, retry },
              async (batch, { tx, publish }) => {
                for (const { body } of batch) await take(tx, body.quantity);
                for (const { body } of batch) await publish(Reserved, { id: body.id });
              },
            ),
        };
      },
      async (t, { store }) => {
        await Promise.all(["a", "b", "b"].map((id) => t.publish(Order, { id, quantity: 1 }, { id })));
        await t.advance("2m");
        assert.equal(store.get("stock"), 8);
        assert.deepEqual(new Set(t.published(Reserved).map(({ body }) => body.id)), new Set(["a", "b"]));
        assert.equal(t.published(Reserved).length, 2);
      },
    );
  });
});

describe("exactly-once effect in the transport's own transaction", () => {
  for (const when of ["before", "after"] as const) {
    test(`what is published and the acknowledgement commit together, where the commit is not answered (${when})`, async () => {
      const reserved: string[] = [];
      await using t = await testBus((bus) => {
        bus.subscribe(Order, { group: "stock", exactlyOnce: "transport", retry }, (order, ctx) => ctx.publish(Reserved, { id: order.id }));
        bus.subscribe(Reserved, { group: "audit" }, ({ id }) => void reserved.push(id));
      });
      const stop = t.broker.failCommit(when);
      await t.publish(Order, { id: "a", quantity: 1 });
      await t.idle();
      stop();
      await t.advance("1m");
      assert.deepEqual(reserved, ["a"]);
      assert.deepEqual(await t.deadLetters(Order, { group: "stock" }), []);
      assert.equal(counters(t)?.failed, 0);
      // It is tried again, and where the commit had taken effect it is found to be settled.
      assert.equal(t.attempts(Order).length, 2);
      assert.deepEqual([counters(t)?.lost, counters(t)?.handled], when === "before" ? [0, 1] : [1, 0]);
      assert.equal(t.bus.status().subscriptions[0]?.unsettled, 0);
    });
  }

  test("one of a batch that is not ours any more takes nothing of the others along", async () => {
    const reserved: string[] = [];
    await using t = await testBus((bus) => {
      bus.subscribeBatch(Order, { group: "stock", size: 3, within: "1s", exactlyOnce: "transport", retry }, async (batch, { publish }) => {
        for (const { body } of batch) await publish(Reserved, { id: body.id });
      });
      bus.subscribe(Reserved, { group: "audit" }, ({ id }) => void reserved.push(id));
    });
    const stop = t.broker.failCommit("after");
    await Promise.all(["a", "b", "c"].map((id) => t.publish(Order, { id, quantity: 1 })));
    await t.advance("1s");
    stop();
    await t.publish(Order, { id: "d", quantity: 1 });
    await t.advance("1m");
    assert.deepEqual(reserved, ["a", "b", "c", "d"]);
    assert.equal(counters(t)?.lost, 3);
  });
});
