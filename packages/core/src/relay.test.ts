import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { memoryStore, testBus, virtualClock, type MemoryStore, type TestClock } from "@waybill/testing";
import { command, event } from "./contract.ts";
import { WaybillError } from "./errors.ts";
import type { Publisher } from "./publisher.ts";
import { createRelay, type Relay } from "./relay.ts";
import { messageOf } from "./transport.fixture.ts";
import type { Message } from "./transport.ts";
import type { Wire } from "./wire.ts";

const never = new AbortController().signal;

interface Rig {
  readonly clock: TestClock;
  readonly store: MemoryStore;
  readonly sent: string[];
  /** What a publish of this id meets. */
  readonly trouble: Map<string, WaybillError>;
  relay(owner: string): Relay;
  put(...messages: readonly (readonly [id: string, key?: string])[]): Promise<void>;
}

async function rig(): Promise<Rig> {
  const clock = virtualClock();
  const store = memoryStore({ clock });
  await store.open({ signal: never });
  const sent: string[] = [];
  const trouble = new Map<string, WaybillError>();
  const publisher = {
    async add(message: Message) {
      const error = trouble.get(message.id);
      if (error !== undefined) throw error;
      sent.push(message.id);
      return message;
    },
  } as unknown as Publisher;
  const wire = { fromBytes: (message: Message) => message } as unknown as Wire;
  return {
    clock,
    store,
    sent,
    trouble,
    relay: (owner) => createRelay({ store, owner, publisher, wire, clock, sent: () => undefined }),
    async put(...messages) {
      const tx = store.begin({ signal: never });
      await tx.enqueue(messages.map(([id, key]) => messageOf({ id, topic: "t", key })));
      await tx.commit();
    },
  };
}

describe("a relay", () => {
  test("sends what is there, and what comes at once, in order, and deletes it", async () => {
    const { clock, store, sent, relay, put } = await rig();
    await put(["1"], ["2"]);
    const one = relay("one");
    one.start();
    await clock.advance(0);
    await put(["3"], ["4"]);
    await clock.advance(0);
    assert.deepEqual(sent, ["1", "2", "3", "4"]);
    assert.equal((await store.outbox.backlog()).rows, 0);
    await one.stop(never);
    await put(["5"]);
    await clock.advance("1m");
    assert.equal(sent.length, 4);
    assert.equal(clock.pending, 0);
  });

  test("what cannot be sent stays and is tried again; it says so meanwhile", async () => {
    const { clock, store, sent, trouble, relay, put } = await rig();
    const one = relay("one");
    one.start();
    trouble.set("1", new WaybillError("UNROUTABLE", "nobody"));
    await put(["1"], ["2"]);
    await clock.advance("5s");
    assert.deepEqual(sent, ["2"]);
    assert.deepEqual([one.error?.code, (await store.outbox.backlog()).rows], ["UNROUTABLE", 1]);
    trouble.clear();
    await clock.advance("5s");
    assert.deepEqual([sent, one.error], [["2", "1"], undefined]);
    await one.stop(never);
  });

  test("two of one store send each row once, and a key's rows in order, also when one of them dies with some in hand", async () => {
    const { clock, store, sent, relay, put } = await rig();
    await put(["a1", "a"], ["b1", "b"], ["a2", "a"]);
    assert.deepEqual(
      (await store.outbox.take({ owner: "dead", limit: 1, leaseMs: 30_000 })).map(({ message }) => message.id),
      ["a1"],
    );
    const both = [relay("one"), relay("two")];
    for (const one of both) one.start();
    await clock.advance("29s");
    assert.deepEqual(sent, ["b1"]);
    await clock.advance("5s");
    assert.deepEqual(sent, ["b1", "a1", "a2"]);
    await Promise.all(both.map((one) => one.stop(never)));
  });

  test("a store that is away is asked again", async () => {
    const { clock, store, sent, relay, put } = await rig();
    const one = relay("one");
    await store.close();
    const take = store.outbox.take.bind(store.outbox);
    let away = true;
    store.outbox.take = (options) => (away ? Promise.reject(new Error("down")) : take(options));
    one.start();
    await clock.advance("5s");
    assert.equal(one.error?.code, "STORE");
    away = false;
    await store.open({ signal: never });
    await put(["1"]);
    await clock.advance("5s");
    assert.deepEqual([sent, one.error], [["1"], undefined]);
    await one.stop(never);
  });
});

describe("a bus with an outbox", () => {
  test("a command that nobody takes yet waits in it, and the bus says that it is not well", async () => {
    const Ship = command<{ id: string }>("ship");
    const store = memoryStore();
    await using t = await testBus(() => undefined, { bus: { outbox: [store] } });
    await t.bus.transact(store, async ({ publish }) => publish(Ship, { id: "a" }));
    await t.advance("5s");
    assert.equal(t.bus.status().healthy, false);
    const shipped: string[] = [];
    t.bus.subscribe(Ship, { group: "ship" }, ({ id }) => void shipped.push(id));
    await t.advance("5s");
    assert.deepEqual([shipped, t.bus.status().healthy, t.metrics().bus.relayed], [["a"], true, 1]);
  });

  test("closing sends what is committed by then", async () => {
    const Done = event<number>("done");
    const store = memoryStore();
    await using t = await testBus((bus) => {
      bus.subscribe(event<number>("in"), { group: "g", exactlyOnce: store }, async (n, ctx) => {
        await new Promise<void>((resolve) => t.clock.after(3_000, resolve));
        await ctx.publish(Done, n);
      });
    });
    await t.publish(event<number>("in"), 1);
    await t.idle();
    const closing = t.bus.close();
    await t.advance("10s");
    await closing;
    assert.equal(t.attempts("in")[0]?.state, "handled");
    // Sent at the close, or by the next process: never lost.
    assert.equal(t.published(Done).length + (await store.outbox.backlog()).rows, 1);
  });
});
