import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { WaybillError } from "../errors.ts";
import { memoryBroker } from "../memory/broker.ts";
import { never, requestFor } from "../transport.fixture.ts";
import type { Transport, TransportStatus } from "../transport.ts";
import { waitFor } from "../wait.fixture.ts";
import { connected, message, pair, Reading } from "./hybrid.fixture.ts";
import { hybrid } from "./hybrid.ts";
import type { HybridOptions } from "./routes.ts";

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
    await transport.subscribe(
      requestFor({ topic: "orders.placed", group: "billing.telemetry", credit: { messages: 1, bytes: 1 }, leaseMs: 1_000 }),
    );
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
    const subscription = await other.subscribe(
      requestFor({ pattern: "telemetry.>", group: undefined, credit: { messages: 10, bytes: 1e6 }, leaseMs: 1_000 }),
    );
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
    await waitFor(() => readings.length === 2);
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
