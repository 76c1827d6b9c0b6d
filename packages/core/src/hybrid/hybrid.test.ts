import assert from "node:assert/strict";
import { describe, test, type TestContext } from "node:test";
import { createBus } from "../bus.ts";
import type { Bus } from "../bus-types.ts";
import { event, request } from "../contract.ts";
import { WaybillError } from "../errors.ts";
import { memoryBroker, type MemoryBroker } from "../memory/broker.ts";
import { fixed } from "../retry.ts";
import type { Message, Transport, TransportStatus } from "../transport.ts";
import { hybrid } from "./hybrid.ts";
import type { HybridOptions } from "./routes.ts";

const Order = event<{ n: number }>("orders.placed", { key: ({ n }) => String(n) });
const Reading = event<{ n: number }>("telemetry.reading");
const never = new AbortController().signal;

async function until(condition: () => boolean | Promise<boolean>, what = "the condition"): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!(await condition())) {
    assert.ok(performance.now() < deadline, `${what} did not hold within 5 s`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

interface Pair {
  readonly fast: MemoryBroker;
  readonly safe: MemoryBroker;
  readonly open: (options?: Partial<HybridOptions>) => Transport;
  readonly start: (t: TestContext, define?: (bus: Bus) => void) => Promise<Bus>;
}

function pair(): Pair {
  const fast = memoryBroker({ shape: "push" });
  const safe = memoryBroker();
  const open = (options: Partial<HybridOptions> = {}): Transport =>
    hybrid({ routes: [{ match: "telemetry.>", transport: fast.open() }], fallback: safe.open(), ...options });
  return {
    fast,
    safe,
    open,
    async start(t, define) {
      const bus = createBus({ name: "shop", transport: open() });
      t.after(() => bus.close({ drain: 0 }));
      define?.(bus);
      await bus.start();
      return bus;
    },
  };
}

function message(topic: string, more: Partial<Message> = {}): Message {
  return {
    id: Math.random().toString(36),
    topic,
    group: undefined,
    key: undefined,
    body: {},
    headers: Object.create(null) as Record<string, string>,
    time: 0,
    deliverAt: undefined,
    expiresAt: undefined,
    priority: undefined,
    replyTo: undefined,
    correlationId: undefined,
    mandatory: false,
    native: undefined,
    ...more,
  };
}

async function connected(t: TestContext, transport: Transport): Promise<Transport> {
  t.after(() => transport.close());
  await transport.connect({ signal: never, onStatus: () => undefined });
  return transport;
}

describe("routes", () => {
  test("the first that matches has the topic; capabilities are its own, and without a topic the weakest of all", () => {
    const { open } = pair();
    const transport = open();
    assert.equal(transport.capabilities("orders.placed").settle.level, "native");
    assert.equal(transport.capabilities("telemetry.reading").settle.level, "none");
    assert.equal(transport.capabilities().settle.level, "none");
    assert.match(transport.capabilities().settle.why ?? "", /memory-push/);
    assert.equal(transport.capabilities("orders.*").settle.level, "native", "of a pattern: those that can have its topics");
    assert.equal(transport.capabilities("*.reading").settle.level, "none");
    assert.equal(transport.name, "hybrid(memory-push, memory)");
  });

  test("dead letters follow their topic, a contract stands for its topic, and a namespace goes before each", () => {
    const a = memoryBroker({ shape: "push" }).open();
    const b = memoryBroker().open();
    const plain = hybrid({ routes: [{ match: [Reading, "x.*.y"], transport: a }], fallback: b });
    assert.equal(plain.capabilities("telemetry.reading").settle.level, "none");
    assert.equal(plain.capabilities("dead-letters.billing.telemetry.reading").settle.level, "none");
    assert.equal(plain.capabilities("dead-letters.billing.orders.telemetry.reading").settle.level, "native");
    assert.equal(plain.capabilities("x.1.y").settle.level, "none");
    const named = hybrid({ namespace: "eu", routes: [{ match: Reading, transport: a }], fallback: b });
    assert.equal(named.capabilities("telemetry.reading").settle.level, "native");
    assert.equal(named.capabilities("eu.telemetry.reading").settle.level, "none");
    assert.equal(named.capabilities("dead-letters.eu.billing.eu.telemetry.reading").settle.level, "none");
  });

  test("a group with dots in its name is known from the moment somebody subscribes with it", async (t) => {
    const transport = await connected(t, pair().open());
    const topic = "dead-letters.billing.telemetry.orders.placed";
    assert.equal(transport.capabilities(topic).settle.level, "none", "taken for group billing, topic telemetry.orders.placed");
    await transport.subscribe({
      topic: "orders.placed",
      pattern: undefined,
      group: "billing.telemetry",
      from: "latest",
      credit: { messages: 1, bytes: 1 },
      leaseMs: 1_000,
      order: "none",
      inbox: false,
      native: undefined,
      signal: never,
      onEvent: () => undefined,
    });
    assert.equal(transport.capabilities(topic).settle.level, "native");
  });

  test("wrong options are refused with every wrong path, and bodies of two kinds", () => {
    const value = memoryBroker().open();
    const wrong = { routes: [{ match: "a", transport: {} }], fallback: 1, namespce: "x" } as unknown as HybridOptions;
    assert.throws(
      () => hybrid(wrong),
      (error: WaybillError) =>
        error.code === "CONFIG" && ["routes[0].transport", "fallback", "namespce"].every((path) => error.message.includes(path)),
    );
    assert.throws(() => hybrid({ routes: [{ match: "a.>.b", transport: value }], fallback: value }), { code: "NAME" });
    assert.throws(() => hybrid({ routes: [{ match: [], transport: value }], fallback: value }), { code: "CONFIG" });
    assert.throws(() => hybrid({ routes: [{ match: 7 as unknown as string, transport: value }], fallback: value }), { code: "CONFIG" });
    assert.throws(
      () => hybrid({ routes: [{ match: "a", transport: memoryBroker({ encode: true }).open() }], fallback: value }),
      (error: WaybillError) => error.code === "CONFIG" && /bytes/.test(error.message),
    );
  });
});

describe("publish", () => {
  test("a batch of several routes goes to each, with one outcome a message, in their order", async (t) => {
    const { fast, safe, open } = pair();
    const transport = await connected(t, open());
    const readings: unknown[] = [];
    const other = await connected(t, fast.open());
    const subscription = await other.subscribe({
      topic: undefined,
      pattern: "telemetry.>",
      group: undefined,
      from: "latest",
      credit: { messages: 10, bytes: 1e6 },
      leaseMs: 1_000,
      order: "none",
      inbox: false,
      native: undefined,
      signal: never,
      onEvent: () => undefined,
    });
    void (async () => {
      for await (const batch of subscription.deliveries())
        for (const {
          message: { body },
        } of batch)
          readings.push(body);
    })();
    const outcomes = await transport.publish(
      [
        message("telemetry.a", { body: 1 }),
        message("orders.placed", { body: 2, mandatory: true }),
        message("telemetry.b", { body: 3 }),
        message("orders.other", { body: 4 }),
      ],
      { signal: never },
    );
    assert.deepEqual(
      outcomes.map((outcome) => (outcome.ok ? "ok" : outcome.error.code)),
      ["ok", "UNROUTABLE", "ok", "ok"],
    );
    await until(() => readings.length === 2);
    assert.deepEqual(readings, [1, 3]);
    safe.stop();
    const later = await transport.publish([message("telemetry.a"), message("orders.placed")], { signal: never });
    assert.deepEqual(
      later.map(({ ok }) => ok),
      [true, false],
      "one that is away says nothing about the other",
    );
  });

  test("lanes are those of the route", () => {
    const { open } = pair();
    const { lanes } = open();
    assert.notEqual(lanes.of(message("telemetry.a")), lanes.of(message("orders.placed")));
    assert.equal(lanes.of(message("orders.a")), lanes.of(message("orders.b")));
  });
});

describe("connect", () => {
  test("the status is the worst of all; one that cannot be reached yet leaves the others for the next call", async (t) => {
    const { fast, safe, open } = pair();
    safe.stop();
    const transport = open();
    t.after(() => transport.close());
    const told: TransportStatus[] = [];
    const options = { signal: never, onStatus: (status: TransportStatus) => void told.push(status) };
    await assert.rejects(transport.connect(options), { code: "CONNECTION" });
    assert.equal(told.includes("connected"), false);
    safe.start();
    await transport.connect(options);
    assert.equal(told.at(-1), "connected");
    fast.stop();
    assert.equal(told.at(-1), "disconnected");
    fast.start();
    assert.equal(told.at(-1), "connected");
    await transport.close();
    await transport.close();
    assert.equal(told.at(-1), "closed");
  });

  test("one that can never be reached closes the others and ends the wait for them", async () => {
    const { safe } = pair();
    const good = safe.open();
    let closed = 0;
    const close = good.close.bind(good);
    good.close = () => ((closed += 1), close());
    const slow: Transport = {
      ...memoryBroker().open(),
      connect: ({ signal }) =>
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(new WaybillError("ABORTED", "gave up")))),
    };
    const refused: Transport = { ...memoryBroker().open(), connect: () => Promise.reject(new WaybillError("AUTH", "who are you")) };
    const transport = hybrid({
      routes: [
        { match: "a", transport: refused },
        { match: "b", transport: slow },
      ],
      fallback: good,
    });
    await assert.rejects(transport.connect({ signal: never, onStatus: () => undefined }), { code: "AUTH" });
    assert.equal(closed, 1);
    await assert.rejects(transport.connect({ signal: never, onStatus: () => undefined }), { code: "CLOSED" });
  });
});

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
    await until(() => seen.length === 2 && bus.metrics().groups["orders.placed"]?.["billing"]?.deadLettered === 1);
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
    await until(() => seen.includes("order 2"));
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
    await until(() => seen.length === 30, "all thirty");
    await until(() => handle.status().unsettled === 0);
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
    await until(() => handle.status().running === 0);
    assert.equal(seen.length, handled, "credit 0 pauses every route");
    handle.resume();
    await until(() => seen.length === handled + 1);
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
    await until(() => seen.length === 2);
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
    await until(() => seen.length === 1);
    await until(() => bus.metrics().groups["eu.bad"]?.["g"]?.deadLettered === 1);
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
    await until(async () => {
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
