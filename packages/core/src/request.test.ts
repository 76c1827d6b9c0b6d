import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { testBus } from "@waybill/testing";
import { createBus } from "./bus.ts";
import { request } from "./contract.ts";
import { WaybillError } from "./errors.ts";
import { memoryBroker } from "./memory/broker.ts";
import type { SubscribeRequest, Transport } from "./transport.ts";
import { createVirtualClock } from "./virtual-clock.ts";
import { waitFor } from "./wait.fixture.ts";

const number = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate: (value: unknown) => (typeof value === "number" ? { value } : { issues: [{ message: "not a number" }] }),
  },
} as const;
const Double = request("math.double", { request: number, reply: number });

describe("request and reply", () => {
  test("each answer finds its question", async () => {
    await using t = await testBus(
      (bus) =>
        void bus.reply(Double, { group: "math", concurrency: 8 }, async (n) => {
          await new Promise<void>((resolve) => t.clock.after(10 - Number(n), resolve));
          return Number(n) * 2;
        }),
    );
    const answers = Promise.all([1, 2, 3, 4].map((n) => t.request(Double, n)));
    await t.advance("1s");
    assert.deepEqual(await answers, [2, 4, 6, 8]);
    assert.equal(t.metrics().bus.requests, 4);
  });

  test("a failure is told as code and text, never a stack; the request is not repeated", async () => {
    await using t = await testBus(
      (bus) =>
        void bus.reply(Double, { group: "math", retry: { attempts: 5 } }, () => {
          throw new RangeError("too far");
        }),
    );
    const error = (await t.request(Double, 1).catch((thrown: unknown) => thrown)) as WaybillError;
    assert.equal(error.code, "REMOTE");
    assert.match(error.message, /too far/);
    assert.doesNotMatch(error.message, /\bat .*\.ts/);
    await t.advance("1m");
    assert.equal(t.attempts(Double).length, 1);
    assert.deepEqual(await t.deadLetters("math.double", { group: "math" }), []);
  });

  test("what does not fit its schema is refused on either side", async () => {
    const wrong = JSON.parse('"text"') as number;
    let answer = wrong;
    await using t = await testBus((bus) => void bus.reply(Double, { group: "math" }, () => answer));
    await assert.rejects(t.request(Double, wrong), { code: "VALIDATION" });
    await assert.rejects(t.request(Double, 1), { code: "REMOTE" });
    answer = 7;
    assert.equal(await t.request(Double, 1), 7);
  });

  test("without an answer in time, without anybody to answer, with a signal, and at the close", async () => {
    await using t = await testBus(
      (bus) => void bus.reply(Double, { group: "math", timeout: "1h" }, () => new Promise<number>(() => undefined)),
    );
    const slow = assert.rejects(t.request(Double, 1, { timeout: "5s" }), { code: "REQUEST_TIMEOUT", certainty: "indefinite" });
    await t.advance("6s");
    await slow;
    await assert.rejects(t.request(request("nobody.there", { request: number, reply: number }), 1), { code: "NO_RESPONDERS" });
    const stop = new AbortController();
    const aborted = assert.rejects(t.bus.request(Double, 1, { signal: stop.signal }), { code: "ABORTED", certainty: "indefinite" });
    await t.idle();
    stop.abort();
    await aborted;
    await assert.rejects(t.bus.request(Double, 1, { signal: stop.signal }), { code: "ABORTED" });
    const open = assert.rejects(t.bus.request(Double, 1, { timeout: "1h" }), { code: "CLOSED" });
    await t.idle();
    await t.close();
    await open;
  });

  test("an expired request is not handled", async () => {
    await using t = await testBus(
      (bus) =>
        void bus.reply(Double, { group: "math", concurrency: 1 }, async (n) => {
          if (n === 1) await new Promise<void>((resolve) => t.clock.after(20_000, resolve));
          return 0;
        }),
    );
    const answers = Promise.allSettled([t.request(Double, 1, { timeout: "5s" }), t.request(Double, 2, { timeout: "5s" })]);
    await t.advance("30s");
    assert.deepEqual(
      (await answers).map(({ status }) => status),
      ["rejected", "rejected"],
    );
    assert.deepEqual(
      t.attempts(Double).map(({ body }) => body),
      [1],
    );
  });
});

describe("the inbox", () => {
  test("one that does not open does not outlast the time-out of a request, nor the close", async () => {
    const clock = createVirtualClock();
    const inner = memoryBroker({ clock }).open();
    const transport: Transport = { ...inner, subscribe: (asked) => (asked.inbox ? new Promise(() => undefined) : inner.subscribe(asked)) };
    const bus = createBus({ name: "test", transport, clock });
    await bus.start();
    const answer = assert.rejects(bus.request(Double, 1, { timeout: "5s" }), { code: "REQUEST_TIMEOUT" });
    await clock.advance(6_000);
    await answer;
    const closing = bus.close({ drain: 0 });
    await clock.advance(60_000);
    await closing;
  });

  test("one that fails is opened anew by the next request; who waits is told", async (t) => {
    const inner = memoryBroker().open();
    const opened: SubscribeRequest[] = [];
    let broken = true;
    const transport: Transport = {
      ...inner,
      async subscribe(asked) {
        const subscription = await inner.subscribe(asked);
        if (!asked.inbox) return subscription;
        opened.push(asked);
        if (!broken) return subscription;
        return { ...subscription, deliveries: () => ({ [Symbol.asyncIterator]: () => ({ next: () => broke.promise }) }) };
      },
    };
    const broke = Promise.withResolvers<IteratorResult<never, undefined>>();
    const bus = createBus({ name: "test", transport });
    t.after(() => bus.close({ drain: 0 }));
    bus.reply(Double, { group: "math" }, (n) => Number(n) * 2);
    await bus.start();
    const first = bus.request(Double, 1).catch((error: unknown) => error as WaybillError);
    await waitFor(() => opened.length === 1);
    broke.reject(new WaybillError("CONNECTION_LOST", "the inbox broke"));
    assert.equal(((await first) as WaybillError).code, "CONNECTION_LOST");
    broken = false;
    assert.equal(await bus.request(Double, 2), 4);
    assert.equal(opened.length, 2);
    // What the old one says now is nothing to the new one.
    void opened[0]?.onEvent({ kind: "failed", error: new WaybillError("CONNECTION_LOST", "late") });
    assert.equal(await bus.request(Double, 3), 6);
    assert.equal(opened.length, 2);
  });
});
