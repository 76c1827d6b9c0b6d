import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { command, event, exponential, request, type Bus } from "@waybill/core";
import { testBus } from "./test-bus.ts";

const Placed = event<{ id: string }>("order.placed", { key: ({ id }) => id });
const Invoiced = event<{ id: string }>("invoice.issued");
const anything = { "~standard": { version: 1, vendor: "test", validate: (value: unknown) => ({ value }) } } as const;

const invoicing = (bus: Bus): void => {
  bus.subscribe(Placed, { group: "billing" }, (order, ctx) => ctx.publish(Invoiced, { id: order.id }));
};

describe("testBus", () => {
  test("shows what was published, attempted and handled", async (t) => {
    const bus = await testBus(invoicing, { test: t });
    await bus.publish(Placed, { id: "a" });
    await bus.publish(Placed, { id: "b" });
    await bus.idle();
    assert.deepEqual(
      bus.published(Invoiced).map(({ body }) => body.id),
      ["a", "b"],
    );
    assert.equal(bus.published(Placed)[0]?.message.key, "a");
    const [first] = bus.published(Placed);
    assert.equal(first?.times, 1);
    assert.deepEqual(
      bus.attempts(first?.message.id ?? "").map(({ group, attempt, state, body }) => ({ group, attempt, state, body })),
      [{ group: "billing", attempt: 1, state: "handled", body: { id: "a" } }],
    );
    assert.equal(bus.attempts(Placed).length, 2);
    assert.equal(bus.handled.length, 2);
    assert.equal(bus.metrics().groups["order.placed"]?.["billing"]?.handled, 2);
  });

  test("time passes only when told to: retries wait for it, and dead letters tell why", async () => {
    await using t = await testBus((bus) => {
      bus.subscribe(
        Placed,
        { group: "billing", retry: { attempts: 3, backoff: exponential({ base: "1m", max: "1h", jitter: "none" }) } },
        () => {
          throw new Error("card refused");
        },
      );
    });
    const startedAt = t.clock.now();
    await t.publish(Placed, { id: "a" });
    await t.idle();
    assert.equal(t.attempts(Placed).length, 1);
    await t.advance("59s");
    assert.equal(t.attempts(Placed).length, 1);
    await t.advance("1s");
    assert.deepEqual(
      t.attempts(Placed).map(({ attempt, state }) => [attempt, state]),
      [
        [1, "failed"],
        [2, "failed"],
      ],
    );
    assert.match(String(t.attempts(Placed)[0]?.error), /card refused/);
    await t.advance("2m");
    const letters = await t.deadLetters(Placed, { group: "billing" });
    assert.deepEqual(
      letters.map(({ cause }) => cause.attempts),
      [3],
    );
    assert.match(letters[0]?.cause.text ?? "", /card refused/);
    assert.equal(t.clock.now() - startedAt, 180_000);
  });

  test("delays, time-outs and requests run on virtual time", async () => {
    const Quote = request("quote.get", { request: anything, reply: anything });
    const reasons: unknown[] = [];
    await using t = await testBus((bus) => {
      bus.subscribe(
        Placed,
        { group: "slow", timeout: "10s", retry: { attempts: 1 } },
        (_, ctx) =>
          new Promise((_, reject) => {
            ctx.signal.addEventListener("abort", () => {
              reasons.push(ctx.signal.reason);
              reject(new Error("gave up"));
            });
          }),
      );
      bus.reply(Quote, { group: "pricing" }, (sku) => ({ sku, price: 9 }));
    });
    assert.deepEqual(await t.request(Quote, "A-1"), { sku: "A-1", price: 9 });
    await t.publish(Placed, { id: "a" }, { delay: "5m" });
    await t.advance("299s");
    assert.equal(t.attempts(Placed).length, 0);
    await t.advance("1s");
    assert.equal(t.attempts(Placed).length, 1);
    await t.advance("11s");
    assert.equal((reasons[0] as { code?: string }).code, "HANDLER_TIMEOUT");
    assert.equal((await t.deadLetters(Placed, { group: "slow" }))[0]?.cause.code, "HANDLER_TIMEOUT");
  });

  test("a namespace, batches, and a setup that is refused", async () => {
    await using t = await testBus(
      (bus) => {
        bus.subscribeBatch(Placed, { group: "search", size: 2, within: "1s", retry: { attempts: 1 } }, (batch) => ({
          failed: batch.filter(({ body }) => body.id === "b"),
        }));
      },
      { bus: { namespace: "eu", name: "search" } },
    );
    await Promise.all(["a", "b", "c"].map((id) => t.publish(Placed, { id })));
    await t.advance("2s");
    assert.deepEqual(
      t.attempts(Placed).map(({ body, state }) => [(body as { id: string }).id, state]),
      [
        ["a", "handled"],
        ["b", "failed"],
        ["c", "handled"],
      ],
    );
    assert.equal(t.published(Placed).length, 3);
    assert.equal((await t.deadLetters(Placed, { group: "search" })).length, 1);
    await assert.rejects(
      testBus((bus) => void bus.subscribe(Placed, { group: "a", orderBy: "kex" as "key" }, () => undefined)),
      { code: "CONFIG" },
    );
    await assert.rejects(testBus(invoicing, { faults: { delay: 2 } }), { code: "CONFIG" });
  });

  test("an error of publish reaches the test", async () => {
    await using t = await testBus(invoicing);
    await assert.rejects(t.publish(command("nobody.there"), {}), { code: "UNROUTABLE" });
    await assert.rejects(t.bus.publish(command("nobody.there"), {}), { code: "UNROUTABLE" });
  });
});

describe("other shapes", () => {
  test("a log: order by key, dead letters, and a crash", async () => {
    const seen: string[] = [];
    await using t = await testBus(
      (bus) => {
        bus.subscribe(Placed, { group: "g", orderBy: "key", retry: { attempts: 1 } }, ({ id }) => {
          seen.push(id);
          if (id === "bad") throw new Error("no");
        });
      },
      { memory: { shape: "log" }, seed: 3, faults: { delay: 0.5 } },
    );
    for (const id of ["a", "bad", "b"]) await t.publish(Placed, { id });
    await t.advance("1m");
    await t.crash();
    await t.publish(Placed, { id: "c" });
    await t.advance("1m");
    assert.deepEqual(new Set(seen), new Set(["a", "bad", "b", "c"]));
    assert.equal((await t.deadLetters(Placed, { group: "g" })).length, 1);
  });

  test("a push: what it cannot do is refused as in production", async () => {
    const memory = { shape: "push" } as const;
    await assert.rejects(testBus(invoicing, { memory }), { code: "CAPABILITY" });
    await using t = await testBus((bus) => void bus.subscribe(Placed, { group: "g", delivery: "at-most-once" }, () => undefined), {
      memory,
    });
    await t.publish(Placed, { id: "a" });
    await t.idle();
    assert.equal(t.handled.length, 1);
  });
});

describe("the end of a test", () => {
  test("the bus is closed, and the seed told if the test failed", async () => {
    for (const passed of [true, false]) {
      const told: string[] = [];
      const ends: (() => Promise<void>)[] = [];
      const t = await testBus(invoicing, {
        seed: 42,
        test: { passed, after: (end) => void ends.push(end), diagnostic: (text) => void told.push(text) },
      });
      for (const end of ends) await end();
      assert.equal(t.bus.status().state, "closed");
      assert.deepEqual(told, passed ? [] : ["seed 42: WAYBILL_TEST_SEED=42 repeats it"]);
    }
  });

  test("a crashed process leaves nothing that keeps this one alive", async () => {
    const before = process.getActiveResourcesInfo().length;
    const t = await testBus(invoicing);
    await t.publish(Placed, { id: "a" });
    await t.crash();
    await t.crash();
    assert.ok(process.getActiveResourcesInfo().length > before);
    await t.close();
    await t.close();
    assert.equal(process.getActiveResourcesInfo().length, before);
  });
});
