import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { memoryStore, testBus, type MemoryStore, type TestBus } from "@waybill/testing";
import { createBus } from "./bus.ts";
import type { Bus, SubscriptionHandle } from "./bus-types.ts";
import { event } from "./contract.ts";
import { memoryBroker } from "./memory/broker.ts";
import { exponential, fixed } from "./retry.ts";
import { createVirtualClock } from "./virtual-clock.ts";
import { waitFor } from "./wait.fixture.ts";

const Job = event<{ n: number }>("job", { key: ({ n }) => String(n % 3) });
const counters = (t: TestBus, group = "g") => t.metrics().groups["job"]?.[group];

describe("retry", () => {
  test("backs off as it says, counts attempts, and then dead-letters with the cause", async () => {
    const at: number[] = [];
    await using t = await testBus((bus) => {
      bus.subscribe(
        Job,
        { group: "g", retry: { attempts: 4, backoff: exponential({ base: "10s", max: "30s", jitter: "none" }) } },
        (_, ctx) => {
          at.push(t.clock.monotonic() / 1_000);
          throw new TypeError(`try ${ctx.attempt}`);
        },
      );
    });
    await t.publish(Job, { n: 1 }, { headers: { tenant: "acme" } });
    const startedAt = t.clock.monotonic() / 1_000;
    await t.advance("5m");
    assert.deepEqual(
      at.map((time) => Math.round(time - startedAt)),
      [0, 10, 30, 60],
    );
    const [letter] = await t.deadLetters(Job, { group: "g" });
    assert.match(letter?.cause.text ?? "", /try 4/);
    assert.deepEqual(
      [letter?.cause.attempts, letter?.cause.topic, letter?.cause.group, letter?.message.headers["tenant"]],
      [4, "job", "g", "acme"],
    );
    assert.ok((letter?.cause.lastFailureAt ?? 0) - (letter?.cause.firstFailureAt ?? 0) >= 59_000);
    assert.deepEqual([counters(t)?.failed, counters(t)?.retried, counters(t)?.deadLettered], [4, 3, 1]);
  });

  test("in process the order of a key holds, and other keys go on", async () => {
    const seen: string[] = [];
    await using t = await testBus((bus) => {
      bus.subscribe(
        Job,
        { group: "g", concurrency: 4, orderBy: "key", retry: { attempts: 3, backoff: fixed("1m", { jitter: "none" }) } },
        ({ n }, ctx) => {
          seen.push(`${n}.${ctx.attempt}`);
          if (n === 0 && ctx.attempt < 3) throw new Error("not yet");
        },
      );
    });
    for (let n = 0; n < 6; n += 1) await t.publish(Job, { n });
    await t.idle();
    assert.deepEqual(seen.toSorted(), ["0.1", "1.1", "2.1", "4.1", "5.1"]);
    await t.advance("5m");
    assert.deepEqual(seen.slice(5), ["0.2", "0.3", "3.1"]);
  });

  test("an error that is never retried, a verdict, and one that was swallowed", async () => {
    class Refused extends Error {}
    await using t = await testBus((bus) => {
      bus.subscribe(Job, { group: "g", retry: { attempts: 5, backoff: fixed("1s"), never: [Refused] } }, ({ n }, ctx) => {
        if (n === 0) throw new Refused("card");
        if (n === 1) ctx.deadLetter("address unknown");
        if (n === 2 && ctx.attempt === 1) {
          try {
            ctx.retry({ after: "1m", reason: "rate limited" });
          } catch {
            return "swallowed, and it holds all the same";
          }
        }
        if (n === 3) {
          try {
            ctx.deadLetter("first");
          } catch {
            throw new Error("second");
          }
        }
        return undefined;
      });
    });
    for (let n = 0; n < 4; n += 1) await t.publish(Job, { n });
    await t.advance("59s");
    assert.equal(t.attempts(Job).length, 4);
    await t.advance("1s");
    assert.deepEqual(
      t
        .attempts(Job)
        .slice(4)
        .map(({ body, state }) => [(body as { n: number }).n, state]),
      [[2, "handled"]],
    );
    const causes = (await t.deadLetters(Job, { group: "g" })).map(({ cause }) => `${cause.code}: ${cause.text}`);
    assert.equal(causes.length, 3);
    assert.match(causes[0] ?? "", /card/);
    assert.match(causes[1] ?? "", /DEAD_LETTER.*address unknown/);
    assert.match(causes[2] ?? "", /DEAD_LETTER.*first/);
  });

  test("whatever is thrown ends dead-lettered, and the neighbours are handled", async () => {
    const thrown = [
      undefined,
      null,
      0,
      "text",
      Object.freeze({ code: 1 }),
      new Proxy(
        {},
        {
          get: () => {
            throw new Error("trap");
          },
          getPrototypeOf: () => {
            throw new Error("trap");
          },
        },
      ),
    ];
    await using t = await testBus((bus) => {
      bus.subscribe(Job, { group: "g", retry: { attempts: 2, backoff: fixed("1s") } }, ({ n }) => {
        if (n < thrown.length) throw thrown[n];
      });
    });
    for (let n = 0; n <= thrown.length; n += 1) await t.publish(Job, { n });
    await t.advance("1m");
    assert.equal((await t.deadLetters(Job, { group: "g" })).length, thrown.length);
    assert.equal(counters(t)?.handled, 1);
  });

  test("without dead letters it is dropped, and counted", async () => {
    await using t = await testBus(
      (bus) => void bus.subscribe(Job, { group: "g", retry: { attempts: 1, deadLetter: false } }, () => Promise.reject(new Error("no"))),
    );
    await t.publish(Job, { n: 1 });
    await t.idle();
    assert.deepEqual([counters(t)?.dropped, (await t.deadLetters(Job, { group: "g" })).length], [1, 0]);
  });

  test("a handler that never comes back is abandoned and its message dead-lettered; too many of them stop intake", async () => {
    let handle: SubscriptionHandle | undefined;
    await using t = await testBus((bus) => {
      handle = bus.subscribe(
        Job,
        { group: "g", timeout: "10s", grace: "1s", maxAbandoned: 0, retry: { attempts: 1 } },
        () => new Promise(() => undefined),
      );
    });
    await t.publish(Job, { n: 1 });
    await t.publish(Job, { n: 2 });
    await t.advance("12s");
    assert.equal((await t.deadLetters(Job, { group: "g" }))[0]?.cause.code, "HANDLER_TIMEOUT");
    assert.deepEqual([handle?.status().abandoned, handle?.status().healthy, t.bus.status().healthy], [1, false, false]);
    await t.advance("5m");
    assert.equal(t.attempts(Job).length, 1, "the second was not begun");
  });
});

describe("pause, stop and drain", () => {
  test("paused, nothing is handled; resumed, all is", async () => {
    let handle: SubscriptionHandle | undefined;
    await using t = await testBus((bus) => void (handle = bus.subscribe(Job, { group: "g" }, () => undefined)));
    handle?.pause();
    assert.equal(handle?.status().state, "paused");
    for (let n = 0; n < 3; n += 1) await t.publish(Job, { n });
    await t.advance("2m");
    assert.equal(t.handled.length, 0);
    handle?.resume();
    await t.idle();
    assert.equal(t.handled.length, 3);
    assert.equal(handle?.status().unsettled, 0);
  });

  test("stop lets handlers finish, gives back the rest, and the next takes it over as if it had never been handed out", async () => {
    let handle: SubscriptionHandle | undefined;
    await using t = await testBus((bus) => {
      handle = bus.subscribe(Job, { group: "g", timeout: "5m" }, ({ n }) =>
        n === 0 ? new Promise<void>((resolve) => t.clock.after(10_000, resolve)) : undefined,
      );
    });
    for (let n = 0; n < 3; n += 1) await t.publish(Job, { n });
    await t.idle();
    const stopping = handle?.stop();
    await t.advance("9s");
    assert.equal(handle?.status().state, "draining");
    await t.advance("1s");
    await stopping;
    assert.equal(handle?.status().state, "stopped");
    assert.equal(t.handled.length, 1);
    const attempts: number[] = [];
    t.bus.subscribe(Job, { group: "g" }, (_, ctx) => void attempts.push(ctx.attempt));
    await t.idle();
    assert.deepEqual(attempts, [1, 1]);
  });

  test("a handler that does not end in the drain's time is told, and its message comes again", async () => {
    let handle: SubscriptionHandle | undefined;
    const told: unknown[] = [];
    await using t = await testBus((bus) => {
      handle = bus.subscribe(
        Job,
        { group: "g", timeout: "1h" },
        (_, ctx) => new Promise(() => ctx.signal.addEventListener("abort", () => told.push(ctx.signal.reason))),
      );
    });
    await t.publish(Job, { n: 1 });
    await t.idle();
    const stopping = handle?.stop({ drain: "5s" });
    await t.advance("10s");
    await stopping;
    assert.equal((told[0] as { code: string }).code, "ABORTED");
    t.bus.subscribe(Job, { group: "g" }, () => undefined);
    await t.advance("1m");
    assert.equal(t.handled.length, 1);
  });

  test("what waits for a retry in process goes back with its count when it stops", async () => {
    let handle: SubscriptionHandle | undefined;
    const attempts: number[] = [];
    const options = { group: "g", orderBy: "key", retry: { attempts: 5, backoff: fixed("1m", { jitter: "none" }) } } as const;
    await using t = await testBus((bus) => void (handle = bus.subscribe(Job, options, () => Promise.reject(new Error("no")))));
    await t.publish(Job, { n: 1 });
    await t.idle();
    await handle?.stop();
    t.bus.subscribe(Job, options, (_, ctx) => void attempts.push(ctx.attempt));
    await t.advance("2m");
    assert.deepEqual(attempts, [2]);
  });

  test("closing twice is harmless, and a subscription may be stopped before the start", async () => {
    let handle: SubscriptionHandle | undefined;
    await using t = await testBus((bus) => {
      handle = bus.subscribe(Job, { group: "g" }, () => undefined);
      const never = bus.subscribe(Job, { group: "h" }, () => undefined);
      void never.stop();
    });
    await t.publish(Job, { n: 1 });
    await t.idle();
    assert.deepEqual(
      t.handled.map(({ group }) => group),
      ["g"],
    );
    await handle?.stop();
    await handle?.stop();
    await t.close();
    await t.close();
  });

  test("one that is stopped while it is being opened leaves nothing behind", async () => {
    await using t = await testBus(() => undefined);
    const seen: unknown[] = [];
    const handle = t.bus.subscribe(Job, { group: "g" }, (body) => void seen.push(body));
    await handle.stop();
    await t.publish(Job, { n: 1 });
    await t.advance("1m");
    assert.deepEqual([seen, handle.status().state], [[], "stopped"]);
    await assert.rejects(handle.ready);
  });
});

test("a dead letter that cannot be handed over ends with the bus, and its message comes again", async () => {
  const clock = createVirtualClock();
  const broker = memoryBroker({ shape: "log", clock });
  const setup = (bus: Bus, handler: () => void): void =>
    void bus.subscribe(Job, { group: "g", from: "earliest", retry: { attempts: 1 } }, handler);
  const bus = createBus({ name: "test", transport: broker.open(), clock });
  setup(bus, () => {
    broker.block();
    throw new Error("no");
  });
  await bus.start();
  await bus.publish(Job, { n: 1 });
  await clock.advance(1_000);
  const closing = bus.close({ drain: "2s" });
  await clock.advance(60_000);
  await closing;
  assert.equal(bus.status().state, "closed");
  assert.equal(clock.pending, 0, "nothing is tried again");
  broker.unblock();
  const next = createBus({ name: "test", transport: broker.open(), clock });
  let handled = 0;
  setup(next, () => void (handled += 1));
  await next.start();
  await clock.advance(60_000);
  assert.equal(handled, 1);
  const ended = next.close();
  await clock.advance(60_000);
  await ended;
});

describe("leases", () => {
  test("a handler that takes longer than the lease keeps its message", async () => {
    await using t = await testBus((bus) => {
      bus.subscribe(
        Job,
        { group: "g", lease: "10s", timeout: "10m" },
        () => new Promise<void>((resolve) => t.clock.after(300_000, resolve)),
      );
      bus.subscribe(Job, { group: "h", lease: "10s", retry: { attempts: 2, backoff: fixed("2m"), inProcess: true } }, (_, ctx) => {
        if (ctx.attempt === 1) throw new Error("in process for longer than the lease");
      });
    });
    await t.publish(Job, { n: 1 });
    await t.advance("6m");
    assert.deepEqual(
      t
        .attempts(Job)
        .map(({ group, attempt, state }) => `${group} ${attempt} ${state}`)
        .toSorted(),
      ["g 1 handled", "h 1 failed", "h 2 handled"],
    );
    assert.equal(counters(t)?.lost, 0);
  });

  test("a pattern keeps them as well", async () => {
    await using t = await testBus(
      (bus) =>
        void bus.subscribe(
          ">",
          { group: "g", lease: "10s", timeout: "10m" },
          () => new Promise<void>((resolve) => t.clock.after(300_000, resolve)),
        ),
    );
    await t.publish(Job, { n: 1 });
    await t.advance("6m");
    assert.deepEqual(
      t.attempts(Job).map(({ state }) => state),
      ["handled"],
    );
  });
});

describe("crash-poison", () => {
  test("a message that ends every process is handled alone once more and then dead-lettered, its neighbours untouched", async () => {
    let deaths = 0;
    await using t = await testBus((bus) => {
      bus.subscribe(Job, { group: "g", concurrency: 4, retry: { attempts: 3 } }, ({ n }) => {
        if (n !== 0) return undefined;
        deaths += 1;
        setImmediate(() => void t.crash());
        return new Promise(() => undefined);
      });
    });
    for (let n = 0; n < 4; n += 1) await t.publish(Job, { n });
    await t.advance("10m");
    const letters = await t.deadLetters(Job, { group: "g" });
    assert.deepEqual(
      letters.map(({ cause }) => cause.code),
      ["CRASH_POISON"],
    );
    assert.ok(deaths <= 4, `${deaths} deaths: at most attempts + 1`);
    assert.deepEqual(new Set(t.handled.map(({ body }) => (body as { n: number }).n)), new Set([1, 2, 3]));
  });

  test("one that was only near is handled alone and keeps its life", async () => {
    let crashes = 0;
    await using t = await testBus((bus) => {
      bus.subscribe(Job, { group: "g", concurrency: 4, retry: { attempts: 2 } }, ({ n }) => {
        if (n === 0 && crashes < 3) {
          crashes += 1;
          setImmediate(() => void t.crash());
          return new Promise(() => undefined);
        }
        return crashes < 3 && n === 1 ? new Promise(() => undefined) : undefined;
      });
    });
    for (let n = 0; n < 2; n += 1) await t.publish(Job, { n });
    await t.advance("10m");
    const dead = (await t.deadLetters(Job, { group: "g" })).map(({ message }) => (message.body as { n: number }).n);
    assert.equal(dead.includes(1), false);
    assert.ok(t.handled.some(({ body }) => (body as { n: number }).n === 1));
  });

  test("a user's pause holds when the suspect has been handled", async () => {
    let crashes = 0;
    let handle: SubscriptionHandle | undefined;
    let release: (() => void) | undefined;
    await using t = await testBus((bus) => {
      handle = bus.subscribe(Job, { group: "g", retry: { attempts: 1 } }, ({ n }) => {
        if (n !== 0) return undefined;
        if (crashes < 1) {
          crashes += 1;
          setImmediate(() => void t.crash());
          return new Promise(() => undefined);
        }
        return new Promise<void>((resolve) => (release = resolve));
      });
    });
    await t.publish(Job, { n: 0 });
    await t.idle();
    assert.ok(release, "it runs alone now");
    await t.publish(Job, { n: 1 });
    handle?.pause();
    release();
    await t.idle();
    assert.deepEqual(
      t.handled.map(({ body }) => (body as { n: number }).n),
      [0],
    );
    await t.publish(Job, { n: 2 });
    await t.idle();
    assert.equal(t.handled.length, 1);
    handle?.resume();
    await t.idle();
    assert.equal(t.handled.length, 3);
  });
});

describe("deliveries that are taken away", () => {
  test("while the store is asked about them: they are not handled", async (t) => {
    const inner = memoryStore();
    const asked: (() => void)[] = [];
    let asks = 0;
    const store: MemoryStore = {
      ...inner,
      async applied(group, ids) {
        asks += 1;
        if (asks === 1) await new Promise<void>((resolve) => asked.push(resolve));
        return inner.applied(group, ids);
      },
    };
    const broker = memoryBroker();
    const bus = createBus({ name: "test", transport: broker.open() });
    t.after(() => bus.close({ drain: 0 }));
    const attempts: number[] = [];
    const handle = bus.subscribe(Job, { group: "g", exactlyOnce: store }, (_, ctx) => void attempts.push(ctx.attempt));
    await bus.start();
    await bus.publish(Job, { n: 1 });
    await waitFor(() => asked.length === 1);
    broker.stop();
    broker.start();
    asked[0]?.();
    await waitFor(() => attempts.length > 0 && handle.status().unsettled === 0);
    assert.deepEqual(attempts, [2], "not the delivery that was lost with the connection");
    const group = bus.metrics().groups["job"]?.["g"];
    assert.deepEqual([group?.lost, group?.handled, group?.duplicates], [1, 1, 0]);
  });
});

describe("what cannot be handled", () => {
  test("a body that does not fit, an unknown version, and an expired message", async () => {
    const positive = {
      "~standard": {
        version: 1,
        vendor: "test",
        validate: (value: unknown) =>
          (value as { n: number }).n > 0 ? { value } : { issues: [{ message: "must be positive", path: ["n"] }] },
      },
    } as const;
    const Strict = event("job", { schema: positive });
    const Newer = event<{ n: number }>("job", { version: 2 });
    let handle: SubscriptionHandle | undefined;
    await using t = await testBus(
      (bus) => void (handle = bus.subscribe(Strict, { group: "g", retry: { attempts: 3, backoff: fixed("1s") } }, () => undefined)),
    );
    await t.publish(Job, { n: -1 });
    await t.publish(Newer, { n: 1 });
    await t.publish(Job, { n: 1 });
    await t.advance("1m");
    assert.deepEqual((await t.deadLetters(Job, { group: "g" })).map(({ cause }) => cause.code).toSorted(), [
      "UNKNOWN_VERSION",
      "VALIDATION",
    ]);
    assert.equal(counters(t)?.handled, 1);
    handle?.pause();
    await t.publish(Job, { n: 7 }, { expiresIn: "10s" });
    await t.advance("11s");
    handle?.resume();
    await t.advance("1s");
    assert.equal(counters(t)?.handled, 1);
  });
});
