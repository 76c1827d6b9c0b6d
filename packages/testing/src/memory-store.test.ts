import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock, type Message } from "@waybill/core";
import { memoryStore, type MemoryStore } from "./memory-store.ts";

const never = new AbortController().signal;
const leaseMs = 30_000;

async function opened(): Promise<{ store: MemoryStore; clock: ReturnType<typeof createVirtualClock> }> {
  const clock = createVirtualClock({ now: 1_000_000 });
  const store = memoryStore({ clock });
  await store.open({ signal: never });
  return { store, clock };
}

function message(id: string, key?: string): Message {
  return {
    id,
    topic: "t",
    group: undefined,
    key,
    body: null,
    headers: {},
    time: 0,
    deliverAt: undefined,
    expiresAt: undefined,
    priority: undefined,
    replyTo: undefined,
    correlationId: undefined,
    mandatory: false,
    native: undefined,
  };
}

async function put(store: MemoryStore, ...messages: Message[]): Promise<void> {
  const tx = store.begin({ signal: never });
  await tx.enqueue(messages);
  await tx.commit();
}
const idsOf = (rows: readonly { readonly message: Message }[]): string[] => rows.map(({ message: { id } }) => id);

describe("memoryStore: transactions", () => {
  test("writes, inbox row and outbox rows commit together, and a rollback leaves nothing", async () => {
    const { store } = await opened();
    const lost = store.begin({ signal: never });
    await lost.tx.set("a", 1);
    assert.equal(await lost.claim("g", "1"), true);
    await lost.enqueue([message("m")]);
    assert.deepEqual([await lost.tx.get("a"), store.get("a")], [1, undefined]);
    await lost.rollback();
    await lost.rollback();
    assert.deepEqual([store.get("a"), await store.applied("g", ["1"]), (await store.outbox.backlog()).rows], [undefined, [false], 0]);
    await assert.rejects(lost.tx.get("a"), { code: "CLOSED" });

    const kept = store.begin({ signal: never });
    await kept.tx.set("a", 1);
    await kept.claim("g", "1");
    await kept.enqueue([message("m")]);
    await kept.commit();
    await kept.rollback();
    assert.deepEqual([store.get("a"), await store.applied("g", ["2", "1"])], [1, [false, true]]);
    assert.deepEqual(await store.outbox.backlog(), { rows: 1, oldestAt: 1_000_000 });
    const again = store.begin({ signal: never });
    assert.equal(await again.claim("g", "1"), false);
    assert.equal(await again.claim("h", "1"), true, "another group");
    await again.tx.delete("a");
    await again.commit();
    assert.deepEqual(store.entries(), []);
  });

  test("one at a time, in the order of their first use; one whose signal fires ends by itself", async () => {
    const { store } = await opened();
    const stop = new AbortController();
    const first = store.begin({ signal: stop.signal });
    const second = store.begin({ signal: never });
    const order: string[] = [];
    await first.tx.set("n", 1);
    const waits = second.tx.get("n").then((n) => order.push(`second reads ${String(n)}`));
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(order, []);
    stop.abort();
    await waits;
    assert.deepEqual(order, ["second reads undefined"]);
    await assert.rejects(first.commit(), { code: "CLOSED", certainty: "definite" });
    await second.commit();
  });

  test("inbox rows are forgotten by age", async () => {
    const { store, clock } = await opened();
    for (const id of ["old", "new"]) {
      const tx = store.begin({ signal: never });
      await tx.claim("g", id);
      await tx.commit();
      clock.tick(1_000);
    }
    assert.equal(await store.forget(1_500), 1);
    assert.deepEqual(await store.applied("g", ["old", "new"]), [false, true]);
    assert.deepEqual(store.inbox(), [["g", "new"]]);
  });

  test("commits fail before, after, or refused, as often as asked", async () => {
    for (const [how, code, done] of [
      ["before", "TX_UNKNOWN", false],
      ["after", "TX_UNKNOWN", true],
      ["refused", "STORE", false],
    ] as const) {
      const { store } = await opened();
      store.failCommits(how, 1);
      const tx = store.begin({ signal: never });
      await tx.tx.set("a", 1);
      await assert.rejects(tx.commit(), { code });
      assert.equal(store.get("a"), done ? 1 : undefined, how);
      const next = store.begin({ signal: never });
      await next.tx.set("b", 1);
      await next.commit();
      const stop = store.failCommits(how);
      stop();
      await store.begin({ signal: never }).commit();
    }
  });

  test("a store that is not open refuses", async () => {
    const store = memoryStore();
    await assert.rejects(store.applied("g", ["1"]), { code: "STORE" });
    await assert.rejects(store.begin({ signal: never }).claim("g", "1"), { code: "STORE" });
  });
});

describe("memoryStore: outbox", () => {
  test("rows of a key stay with the relay that holds the first, until its lease is over", async () => {
    const { store, clock } = await opened();
    await put(store, message("a1", "a"), message("b1", "b"), message("a2", "a"), message("free"));
    assert.deepEqual(idsOf(await store.outbox.take({ owner: "one", limit: 1, leaseMs })), ["a1"]);
    assert.deepEqual(idsOf(await store.outbox.take({ owner: "two", limit: 9, leaseMs })), ["b1", "free"]);
    assert.deepEqual(idsOf(await store.outbox.take({ owner: "three", limit: 9, leaseMs })), []);
    assert.deepEqual(idsOf(await store.outbox.take({ owner: "one", limit: 9, leaseMs })), ["a1", "a2"]);
    clock.tick(leaseMs);
    assert.deepEqual(idsOf(await store.outbox.take({ owner: "three", limit: 9, leaseMs })), ["a1", "b1", "a2", "free"]);
    const rows = (await store.outbox.take({ owner: "three", limit: 9, leaseMs })).map(({ row }) => row);
    await store.outbox.done("two", rows);
    assert.equal((await store.outbox.backlog()).rows, 4, "not theirs any more");
    await store.outbox.release("three", rows.slice(2));
    await store.outbox.done("three", rows.slice(0, 2));
    assert.deepEqual(idsOf(await store.outbox.take({ owner: "two", limit: 9, leaseMs })), ["a2", "free"]);
  });

  test("whoever watches is told of a commit, and not of a rollback", async () => {
    const { store } = await opened();
    let woken = 0;
    const stop = store.outbox.watch(() => (woken += 1));
    const lost = store.begin({ signal: never });
    await lost.enqueue([message("m")]);
    await lost.rollback();
    assert.equal(woken, 0);
    await put(store, message("m"));
    assert.equal(woken, 1);
    stop();
    await put(store, message("n"));
    assert.equal(woken, 1);
  });
});
