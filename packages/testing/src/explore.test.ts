import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import { event, type Bus } from "@waybill/core";
import { crashEverywhere, explore, type Scenario } from "./explore.ts";
import { seedVariable } from "./faults.ts";
import { memoryStore, type MemoryStore } from "./memory-store.ts";
import type { TestBus } from "./test-bus.ts";

const Placed = event<{ id: string; quantity: number }>("order.placed", { key: ({ id }) => id });
const Reserved = event<{ id: string }>("stock.reserved");

interface Shop {
  readonly store: MemoryStore;
  readonly setup: (bus: Bus) => void;
}
type Service = (bus: Bus, store: MemoryStore) => void;

const shopOf = (service: Service) => (): Shop => {
  const store = memoryStore();
  return { store, setup: (bus) => service(bus, store) };
};

const correct: Service = (bus, store) => {
  bus.subscribe(Placed, { group: "stock", exactlyOnce: store, retry: { attempts: 5 } }, async (order, ctx) => {
    await ctx.tx.set("stock", ((await ctx.tx.get<number>("stock")) ?? 0) - order.quantity);
    await ctx.publish(Reserved, { id: order.id });
  });
};
/** The effect is committed by itself: a crash before the acknowledgement has it twice. */
const naive: Service = (bus, store) => {
  bus.subscribe(Placed, { group: "stock", retry: { attempts: 5 } }, async (order, ctx) => {
    await bus.transact(store, async ({ tx }) => tx.set("stock", ((await tx.get<number>("stock")) ?? 0) - order.quantity));
    await ctx.publish(Reserved, { id: order.id });
  });
};
/** What follows from the effect is published past the outbox: a crash after the commit loses it. */
const pastOutbox: Service = (bus, store) => {
  bus.subscribe(Placed, { group: "stock", exactlyOnce: store, retry: { attempts: 5 } }, async (order, ctx) => {
    await ctx.tx.set("stock", ((await ctx.tx.get<number>("stock")) ?? 0) - order.quantity);
    setImmediate(() => void bus.publish(Reserved, { id: order.id }));
  });
};

const orders: Scenario<Shop> = async (t, { store }) => {
  for (const id of ["a", "b", "c"]) await t.publish(Placed, { id, quantity: 2 });
  await t.advance("3m");
  assert.equal(store.get("stock"), -6);
  assert.deepEqual(
    t
      .published(Reserved)
      .map(({ body }) => body.id)
      .toSorted(),
    ["a", "b", "c"],
  );
  assert.deepEqual(await t.deadLetters(Placed, { group: "stock" }), []);
};

afterEach(() => {
  delete process.env[seedVariable];
});

describe("crashEverywhere", () => {
  test("exactlyOnce holds at every crash point", async () => {
    const { points, runs } = await crashEverywhere(shopOf(correct), orders);
    assert.equal(runs, points.length + 1);
    for (const label of [
      "before commit of memory store",
      "after commit of memory store",
      "before ack of order.placed",
      "after publish to stock.reserved",
      "after take of memory store",
      "after done of memory store",
      "hand-over of order.placed",
    ]) {
      assert.ok(points.includes(label), `${label} is a crash point`);
    }
  });

  test("a setup that does without is caught, and the failure can be repeated", async () => {
    for (const service of [naive, pastOutbox]) {
      const failure = await crashEverywhere(shopOf(service), orders, { seed: 5 }).then(
        () => undefined,
        (error: Error) => error,
      );
      assert.ok(failure, "caught");
      const replay = /WAYBILL_TEST_SEED=(5:\d+) repeats it/.exec(failure.message)?.[1];
      assert.match(failure.message, /crash point \d+, (before|after|hand-over) /);
      assert.ok(failure.cause instanceof assert.AssertionError);
      process.env[seedVariable] = replay;
      let runs = 0;
      await assert.rejects(
        crashEverywhere(() => ((runs += 1), shopOf(service)()), orders),
        { message: failure.message },
      );
      assert.equal(runs, 1);
      delete process.env[seedVariable];
    }
  });

  test("exactlyOnce in the transport's own transaction holds as well", async () => {
    const inTransport = (): { setup: (bus: Bus) => void } => ({
      setup: (bus) =>
        void bus.subscribe(Placed, { group: "stock", exactlyOnce: "transport", retry: { attempts: 5 } }, (order, ctx) =>
          ctx.publish(Reserved, { id: order.id }),
        ),
    });
    await crashEverywhere(
      inTransport,
      async (t) => {
        // Its id makes a repeat of the publish one message for the broker, which is what this guarantee counts from.
        await t.publish(Placed, { id: "a", quantity: 1 });
        await t.advance("3m");
        assert.equal(t.published(Reserved).length, 1);
      },
      { memory: { deduplicationWindow: "1h" } },
    );
  });

  test("commits that fail before or after their effect, at every crash point", async () => {
    for (const how of ["before", "after"] as const) {
      const failing: Scenario<Shop> = async (t, scene) => {
        scene.store.failCommits(how, 1);
        await orders(t, scene);
      };
      await crashEverywhere(shopOf(correct), failing, { maxRuns: 25 });
    }
  });

  test("a scenario that fails without a crash says so", async () => {
    await assert.rejects(
      crashEverywhere(shopOf(correct), async () => assert.fail("no"), { seed: 1 }),
      { message: "seed 1, no crash (WAYBILL_TEST_SEED=1 repeats it): no" },
    );
  });
});

describe("explore", () => {
  const faults = { duplicates: 0.3, reorder: 0.3, delay: 0.3, crash: 0.02 };

  test("exactlyOnce holds under all faults at once", async () => {
    await explore(shopOf(correct), orders, { faults, runs: 30 });
  });

  test("a setup that does without is caught, and its seed finds it again", async () => {
    const failure = await explore(shopOf(naive), orders, { faults, seed: 100 }).then(
      () => undefined,
      (error: Error) => error,
    );
    assert.ok(failure, "caught");
    const seed = /^seed (\d+)/.exec(failure.message)?.[1];
    process.env[seedVariable] = seed;
    const seeds: number[] = [];
    const noted: Scenario<Shop> = async (t: TestBus, scene) => {
      seeds.push(t.seed);
      await orders(t, scene);
    };
    await assert.rejects(explore(shopOf(naive), noted, { faults }), { message: failure.message });
    assert.deepEqual(seeds, [Number(seed)]);
  });

  test("a wrong seed in the environment is refused", async () => {
    process.env[seedVariable] = "what";
    await assert.rejects(explore(shopOf(correct), orders), { code: "CONFIG" });
  });
});
