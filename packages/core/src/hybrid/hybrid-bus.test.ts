import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createBus } from "../bus.ts";
import { event, request } from "../contract.ts";
import type { WaybillError } from "../errors.ts";
import { memoryBroker } from "../memory/broker.ts";
import { fixed } from "../retry.ts";
import type { Transport } from "../transport.ts";
import { waitFor } from "../wait.fixture.ts";
import { never } from "../transport.fixture.ts";
import { connected, Order, pair, Reading } from "./hybrid.fixture.ts";
import { hybrid } from "./hybrid.ts";

describe("a bus on it", () => {
  test("handles both routes, retries and dead-letters on the route of the topic, and replays from there", async (t) => {
    const { safe, start } = pair();
    const seen: string[] = [];
    let broken = true;
    const bus = await start(t, (bus) => {
      bus.subscribe(Order, { group: "billing", retry: { attempts: 2, backoff: fixed(1) } }, ({ n }) => {
        if (broken && n === 2) throw new Error("card");
        seen.push(`order ${n}`);
      });
      bus.subscribe(Reading, { group: "graphs", delivery: "at-most-once" }, ({ n }) => void seen.push(`reading ${n}`));
    });
    await Promise.all([bus.publish(Order, { n: 1 }), bus.publish(Reading, { n: 1 }), bus.publish(Order, { n: 2 })]);
    await waitFor(() => seen.length === 2 && bus.metrics().groups["orders.placed"]?.["billing"]?.deadLettered === 1);
    assert.deepEqual(seen.toSorted(), ["order 1", "reading 1"]);
    const letters = await bus.deadLetters(Order, { group: "billing" }).list();
    assert.equal(letters.length, 1);
    const direct = await connected(t, safe.open());
    assert.equal(
      (
        await direct.browse?.({
          topic: "dead-letters.billing.orders.placed",
          group: "dead-letters",
          after: undefined,
          limit: 9,
          signal: never,
        })
      )?.length,
      1,
    );
    broken = false;
    assert.equal((await bus.deadLetters(Order, { group: "billing" }).replay()).replayed, 1);
    await waitFor(() => seen.includes("order 2"));
  });

  test("refuses what the route of the topic cannot do, and only there", async (t) => {
    const bus = createBus({ name: "shop", transport: pair().open() });
    t.after(() => bus.close({ drain: 0 }));
    bus.subscribe(Order, { group: "g" }, () => undefined);
    bus.subscribe(Reading, { group: "g" }, () => undefined);
    await assert.rejects(bus.start(), (error: WaybillError) => error.code === "CAPABILITY" && error.message.includes("telemetry.reading"));
  });

  test("topology is checked where the route knows one", async () => {
    const bus = createBus({ name: "shop", topology: "check", transport: pair().open() });
    bus.subscribe(Order, { group: "g" }, () => undefined);
    bus.subscribe(Reading, { group: "g", delivery: "at-most-once" }, () => undefined);
    await assert.rejects(
      bus.start(),
      (error: WaybillError) => error.code === "TOPOLOGY" && error.message.includes("orders.placed") && !error.message.includes("telemetry"),
    );
  });

  test("a pattern that several routes have topics of reads from each", async (t) => {
    const a = memoryBroker();
    const b = memoryBroker({ deduplicationWindow: "1m" });
    const transport = hybrid({
      routes: [
        { match: "eu.>", transport: a.open() },
        { match: "us.>", transport: b.open() },
      ],
      fallback: b.open(),
    });
    const bus = createBus({ name: "shop", transport });
    t.after(() => bus.close({ drain: 0 }));
    const seen: string[] = [];
    const failed = new Set<string>();
    const handle = bus.subscribe(
      "*.orders",
      { group: "audit", concurrency: 4, retry: { attempts: 3, backoff: fixed(1) } },
      (_, { message: { topic, id } }) => {
        if (!failed.has(id)) {
          failed.add(id);
          throw new Error("once");
        }
        seen.push(topic);
      },
    );
    await bus.start();
    for (let n = 0; n < 10; n += 1) {
      await Promise.all([bus.publish(event("eu.orders"), n), bus.publish(event("us.orders"), n), bus.publish(event("asia.orders"), n)]);
    }
    await waitFor(() => seen.length === 30);
    await waitFor(() => handle.status().unsettled === 0);
    assert.deepEqual([...new Set(seen)].toSorted(), ["asia.orders", "eu.orders", "us.orders"]);
    for (const [broker, topic] of [
      [a, "eu.orders"],
      [b, "us.orders"],
      [b, "asia.orders"],
    ] as const) {
      const direct = await connected(t, broker.open());
      assert.equal((await direct.inspect?.(topic, "audit"))?.depth, 0, topic);
    }
    const handled = seen.length;
    handle.pause();
    await bus.publish(event("eu.orders"), 99);
    await waitFor(() => handle.status().running === 0);
    assert.equal(seen.length, handled, "credit 0 pauses every route");
    handle.resume();
    await waitFor(() => seen.length === handled + 1);
  });

  test("a route of a pattern that loses its broker for a while goes on by itself", async (t) => {
    const a = memoryBroker();
    const b = memoryBroker();
    const bus = createBus({ name: "shop", transport: hybrid({ routes: [{ match: "eu.>", transport: a.open() }], fallback: b.open() }) });
    t.after(() => bus.close({ drain: 0 }));
    const seen: unknown[] = [];
    bus.subscribe("*.orders", { group: "audit" }, (body) => void seen.push(body));
    await bus.start();
    a.stop();
    assert.equal(bus.status().transport, "disconnected");
    a.start();
    await Promise.all([bus.publish(event("eu.orders"), 1), bus.publish(event("us.orders"), 2)]);
    await waitFor(() => seen.length === 2);
    assert.deepEqual(new Set(seen), new Set([1, 2]));
  });

  test("requests are answered over each route, by another bus on the same brokers", async (t) => {
    const a = memoryBroker();
    const b = memoryBroker();
    const open = (): Transport => hybrid({ routes: [{ match: "eu.>", transport: a.open() }], fallback: b.open() });
    const Eu = request("eu.quote", { request: anything, reply: anything });
    const Us = request("us.quote", { request: anything, reply: anything });
    const pricing = createBus({ name: "pricing", transport: open() });
    const shop = createBus({ name: "shop", transport: open() });
    t.after(() => Promise.all([pricing.close({ drain: 0 }), shop.close({ drain: 0 })]));
    const replyTo: (string | undefined)[] = [];
    for (const contract of [Eu, Us]) {
      pricing.reply(contract, { group: "pricing" }, (body, ctx) => {
        replyTo.push(ctx.message.replyTo);
        return [contract.topic, body];
      });
    }
    await Promise.all([pricing.start(), shop.start()]);
    assert.deepEqual(await Promise.all([shop.request(Eu, 1), shop.request(Us, 2)]), [
      ["eu.quote", 1],
      ["us.quote", 2],
    ]);
    assert.equal(
      replyTo.filter((address) => address?.startsWith("hybrid:")).length,
      1,
      "the fallback has what no route matches, and so its reply addresses",
    );
    // A service that is on one broker alone understands the address as well.
    const plain = createBus({ name: "plain", transport: b.open() });
    t.after(() => plain.close({ drain: 0 }));
    const Asia = request("asia.quote", { request: anything, reply: anything });
    plain.reply(Asia, { group: "asia" }, () => "plain");
    await plain.start();
    assert.equal(await shop.request(Asia, 0), "plain");
    await assert.rejects(shop.request(request("eu.nobody", { request: anything, reply: anything }), 0, { timeout: 200 }), {
      code: "NO_RESPONDERS",
    });
  });

  test("a route without an inbox refuses requests, the others answer them", async (t) => {
    const push: Transport = withoutInbox(memoryBroker().open());
    const bus = createBus({
      name: "shop",
      transport: hybrid({ routes: [{ match: "eu.>", transport: push }], fallback: memoryBroker().open() }),
    });
    t.after(() => bus.close({ drain: 0 }));
    const Us = request("us.quote", { request: anything, reply: anything });
    bus.reply(Us, { group: "g" }, () => 7);
    await bus.start();
    assert.equal(await bus.request(Us, 0), 7);
    await assert.rejects(bus.request(request("eu.quote", { request: anything, reply: anything }), 0), { code: "CAPABILITY" });
  });

  test("a transaction stays on one route", async (t) => {
    const a = memoryBroker();
    const b = memoryBroker();
    const bus = createBus({ name: "shop", transport: hybrid({ routes: [{ match: "eu.>", transport: a.open() }], fallback: b.open() }) });
    t.after(() => bus.close({ drain: 0 }));
    const seen: string[] = [];
    const exactlyOnce = { group: "g", exactlyOnce: "transport", retry: { attempts: 1 } } as const;
    bus.subscribe(event("eu.in"), exactlyOnce, (_, ctx) => ctx.publish(event("eu.out"), 1));
    bus.subscribe(event("eu.bad"), exactlyOnce, (_, ctx) => ctx.publish(event("us.out"), 1));
    bus.subscribe("*.out", { group: "h" }, (_, { message: { topic } }) => void seen.push(topic));
    await bus.start();
    await bus.publish(event("eu.bad"), 1);
    await bus.publish(event("eu.in"), 1);
    await waitFor(() => seen.length === 1);
    await waitFor(() => bus.metrics().groups["eu.bad"]?.["g"]?.deadLettered === 1);
    const [letter] = await bus.deadLetters("eu.bad", { group: "g" }).list();
    assert.equal(letter?.cause.code, "CAPABILITY");
    assert.deepEqual(seen, ["eu.out"]);
  });

  test("a stream over several routes ends when its signal fires", async (t) => {
    const a = memoryBroker();
    const bus = createBus({
      name: "shop",
      transport: hybrid({ routes: [{ match: "eu.>", transport: a.open() }], fallback: memoryBroker().open() }),
    });
    t.after(() => bus.close({ drain: 0 }));
    await bus.start();
    const stop = new AbortController();
    const seen: unknown[] = [];
    const reading = (async () => {
      for await (const { body } of bus.stream("*.orders", { signal: stop.signal })) seen.push(body);
    })();
    let n = 0;
    await waitFor(async () => {
      await Promise.all([bus.publish(event("eu.orders"), "eu"), bus.publish(event("us.orders"), "us")]);
      n += 1;
      return new Set(seen).size === 2;
    });
    assert.ok(n > 0);
    stop.abort();
    await reading;
  });
});

const anything = { "~standard": { version: 1, vendor: "test", validate: (value: unknown) => ({ value }) } } as const;

function withoutInbox(transport: Transport): Transport {
  return { ...transport, capabilities: (topic) => ({ ...transport.capabilities(topic), inbox: { level: "none", why: "a test" } }) };
}
