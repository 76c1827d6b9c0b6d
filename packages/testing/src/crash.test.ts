import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { event, type Bus } from "@waybill/core";
import { testBus } from "./test-bus.ts";

const Placed = event<{ id: string }>("order.placed", { key: ({ id }) => id });
const Invoiced = event<{ id: string }>("invoice.issued");

const invoicing = (bus: Bus): void => {
  bus.subscribe(Placed, { group: "billing" }, (order, ctx) => ctx.publish(Invoiced, { id: order.id }));
};

describe("a crash", () => {
  test("ends the process where it is: its handler hears nothing more, its timers are gone, the next one takes over", async () => {
    const lives: string[] = [];
    let life = 0;
    await using t = await testBus((bus) => {
      life += 1;
      const own = life;
      bus.subscribe(Placed, { group: "billing", timeout: "1h" }, async (_, ctx) => {
        lives.push(`begun in ${own}`);
        if (own === 1) {
          await new Promise<void>((resolve) => t.clock.after(60_000, resolve));
          await ctx.publish(Invoiced, { id: "never" }).finally(() => lives.push("a dead process was answered"));
        }
        ctx.signal.addEventListener("abort", () => lives.push("a dead process was told"));
      });
    });
    await t.publish(Placed, { id: "a" });
    await t.idle();
    await t.crash();
    await t.advance("5m");
    assert.deepEqual(lives, ["begun in 1", "begun in 2"]);
    assert.deepEqual(
      t.attempts(Placed).map(({ attempt, state }) => [attempt, state]),
      [
        [1, "crashed"],
        [2, "handled"],
      ],
    );
    assert.deepEqual(t.published(Invoiced), []);
    assert.equal(t.crashes.length, 0, "that one was no fault of the seed");
  });

  test("at the n-th point, before the call or after its effect", async () => {
    const points = await (async () => {
      await using t = await testBus(invoicing);
      await t.publish(Placed, { id: "a" });
      await t.idle();
      return [...t.points];
    })();
    const before = points.indexOf("before publish to invoice.issued") + 1;
    const after = points.indexOf("after publish to invoice.issued") + 1;
    assert.ok(before > 0 && after === before + 1, points.join("\n"));
    for (const [crashAt, times] of [
      [before, 1],
      [after, 1],
    ] as const) {
      await using t = await testBus(invoicing, { faults: { crashAt } });
      await t.publish(Placed, { id: "a" });
      await t.advance("1m");
      assert.deepEqual(t.crashes, [{ point: crashAt, label: points[crashAt - 1] }]);
      // Without an outbox the second attempt publishes an invoice of its own.
      assert.equal(t.published(Invoiced).length, crashAt === before ? times : times + 1);
      assert.equal(t.attempts(Placed).length, 2);
    }
  });

  test("while it starts, and twice", async () => {
    await using t = await testBus(invoicing, { faults: { crashAt: [1, 2, 5] } });
    assert.equal(t.crashes.length >= 2, true);
    await t.publish(Placed, { id: "a" });
    await t.advance("1m");
    assert.equal(t.crashes.length, 3);
    assert.ok(t.published(Invoiced).length >= 1);
  });

  test("a call from outside on a process that dies is told so, and publish goes on with the next", async () => {
    await using t = await testBus((bus) => void bus.subscribe(Placed, { group: "billing" }, () => undefined));
    t.broker.block("confirms");
    const kept = t.publish(Placed, { id: "kept" });
    await t.idle();
    const lost = t.bus.publish(Placed, { id: "lost" });
    await t.idle();
    const dies = t.crash();
    await assert.rejects(lost, { code: "CONNECTION_LOST" });
    t.broker.unblock();
    await dies;
    await kept;
    await t.idle();
    const bodies = t.attempts(Placed).map(({ body }) => (body as { id: string }).id);
    assert.deepEqual(bodies.toSorted(), ["kept", "kept"], "the confirm was lost with the process, so it was published again");
  });
});
