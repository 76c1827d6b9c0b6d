import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { testBus } from "@waybill/testing";
import { createBus } from "./bus.ts";
import { event } from "./contract.ts";
import { memoryBroker } from "./memory/broker.ts";
import { createVirtualClock } from "./virtual-clock.ts";

const In = event<number>("in");
const Out = event<number>("out");

describe("close", () => {
  test("a handler that is drained may publish; others may not", async () => {
    await using t = await testBus((bus) => {
      bus.subscribe(In, { group: "g" }, async (n, ctx) => {
        await new Promise<void>((resolve) => t.clock.after(5_000, resolve));
        await ctx.publish(Out, n);
      });
    });
    await t.publish(In, 1);
    await t.idle();
    const closing = t.bus.close();
    await t.idle();
    await assert.rejects(t.bus.publish(Out, 2), { code: "CLOSED" });
    await t.advance("10s");
    await closing;
    assert.deepEqual(
      t.published(Out).map(({ body }) => body),
      [1],
    );
    assert.deepEqual(
      t.attempts(In).map(({ state }) => state),
      ["handled"],
    );
    await assert.rejects(t.bus.publish(Out, 3), { code: "CLOSED" });
  });

  test("keeps to its time although the broker does not answer", async () => {
    await using t = await testBus(() => undefined);
    t.broker.block("confirms");
    const lost = assert.rejects(t.bus.publish(Out, 1), { code: "CLOSED", certainty: "indefinite" });
    await t.idle();
    const closing = t.bus.close({ drain: "5s" });
    await t.advance("30s");
    await closing;
    await lost;
    assert.equal(t.bus.status().state, "closed");
  });
});

describe("start", () => {
  test("keeps trying while the broker is away, and ends when its signal fires", async () => {
    const clock = createVirtualClock();
    const broker = memoryBroker({ clock });
    broker.stop();
    const bus = createBus({ name: "test", transport: broker.open(), clock });
    const starting = bus.start();
    await clock.advance(60_000);
    assert.equal(bus.status().state, "starting");
    broker.start();
    await clock.advance(10_000);
    await starting;
    const closing = bus.close();
    await clock.advance(60_000);
    await closing;

    broker.stop();
    const other = createBus({ name: "test", transport: broker.open(), clock });
    const stop = new AbortController();
    const given = assert.rejects(other.start({ signal: stop.signal }));
    await clock.advance(1_000);
    stop.abort();
    await clock.advance(60_000);
    await given;
    assert.equal(other.status().state, "closed");
  });

  test("what is published before it is refused; a second start as well", async () => {
    const clock = createVirtualClock();
    const bus = createBus({ name: "test", transport: memoryBroker({ clock }).open(), clock });
    await assert.rejects(bus.publish(Out, 1), { code: "NOT_STARTED" });
    await bus.start();
    await assert.rejects(bus.start(), { code: "CONFIG" });
    await bus.close();
    await bus.close();
    await assert.rejects(bus.publish(Out, 1), { code: "CLOSED" });
    assert.throws(() => bus.subscribe(In, { group: "g" }, () => undefined), { code: "CLOSED" });
  });
});

describe("publishMany", () => {
  test("rejects with all outcomes unless each is ok; with settle it resolves with them", async () => {
    const strict = {
      "~standard": {
        version: 1,
        vendor: "test",
        validate: (value: unknown) => (typeof value === "number" ? { value } : { issues: [{ message: "not a number" }] }),
      },
    } as const;
    const Strict = event("strict", { schema: strict });
    await using t = await testBus(() => undefined);
    const good = await t.bus.publishMany(Strict, [1, 2, 3]);
    assert.equal(good.length, 3);
    const bodies = [1, "two", 3];
    const error = await t.bus
      .publishMany(Strict, bodies)
      .catch((thrown: unknown) => thrown as { code: string; outcomes: readonly { ok: boolean }[] });
    assert.deepEqual(
      [(error as { code: string }).code, (error as { outcomes: readonly { ok: boolean }[] }).outcomes.map(({ ok }) => ok)],
      ["VALIDATION", [true, false, true]],
    );
    const outcomes = await t.bus.publishMany(Strict, bodies, { settle: true });
    assert.deepEqual(
      outcomes.map(({ ok }) => ok),
      [true, false, true],
    );
    assert.deepEqual(
      t.published(Strict).map(({ body }) => body),
      [1, 2, 3, 1, 3, 1, 3],
    );
  });
});
