import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { isWaybillError, type Store } from "@waybill/core";
import { embeddedStore } from "./store.ts";
import { atEnd, message, never, openTransport, publishAll, startChild, take, tempFile, until } from "./test.fixture.ts";
import type { EmbeddedTx } from "./tx.ts";
import type { Faults } from "./options.ts";

async function openStore(t: TestContext, path: string, faults: Faults = {}): Promise<Store<EmbeddedTx>> {
  const store = embeddedStore({ path, faults });
  atEnd(t, () => store.close());
  await store.open({ signal: AbortSignal.timeout(20_000) });
  return store;
}

async function inTransaction<T>(store: Store<EmbeddedTx>, work: (tx: EmbeddedTx) => Promise<T>): Promise<T> {
  const transaction = store.begin({ signal: never });
  try {
    const result = await work(transaction.tx);
    await transaction.commit();
    return result;
  } finally {
    await transaction.rollback();
  }
}

test("writes, inbox row, publish and acknowledgement commit together, or not at all", async (t) => {
  const transport = await openTransport(t, { path: tempFile(t) });
  const store = transport.store;
  await inTransaction(store, (tx) => tx.run("create table stock (sku text primary key, left integer)"));
  const taken = await take(transport, { topic: "a", group: "g" });
  const out = await take(transport, { topic: "out" });
  await publishAll(transport, [message("a", "1"), message("a", "2")]);
  await until("both", () => taken.got.length === 2);
  for (const [index, commits] of [false, true].entries()) {
    const delivery = taken.got[index]!;
    const transaction = store.begin({ signal: never });
    await transaction.tx.run("insert into stock values (?, ?)", [delivery.message.id, 1]);
    assert(await transaction.claim("g", delivery.message.id));
    assert(!(await transaction.claim("g", delivery.message.id)));
    const [sent] = await transport.publish([message("out", "made")], { signal: never, tx: transaction });
    assert(sent?.ok);
    assert.deepEqual(await taken.subscription.settle([{ kind: "ack", delivery }], { tx: transaction }), ["done"]);
    if (commits) await transaction.commit();
    else await transaction.rollback();
    await transaction.rollback();
  }
  const ids = taken.got.map((one) => one.message.id);
  assert.deepEqual(await store.applied("g", ids), [false, true]);
  assert.equal((await inTransaction(store, (tx) => tx.query("select * from stock"))).length, 1);
  await until("what it published", () => out.got.length === 1);
  assert.equal((await transport.inspect!("a", "g")).depth, 1);
  assert.deepEqual(await taken.subscription.settle(taken.got.map((delivery) => ({ kind: "ack", delivery }))), ["done", "lost"]);
  assert.equal(out.got.length, 1);
});

test("many transactions at once share commits, each with its own savepoint", async (t) => {
  const store = await openStore(t, tempFile(t));
  await inTransaction(store, (tx) => tx.run("create table e (n integer unique)"));
  const results = await Promise.allSettled(
    Array.from({ length: 100 }, async (_, n) => {
      const transaction = store.begin({ signal: never });
      try {
        await transaction.tx.run("insert into e values (?)", [n % 10 === 3 ? 3 : n]);
        await transaction.tx.transaction((db) => db.run("insert into e values (?)", [n + 1000]));
        await transaction.commit();
      } catch (error) {
        await transaction.rollback();
        throw error;
      }
    }),
  );
  // Of the ten that write the same number one wins, and what the others wrote is gone.
  assert.equal(results.filter(({ status }) => status === "fulfilled").length, 91);
  const rows = await inTransaction(store, (tx) => tx.query("select n from e"));
  assert.equal(rows.length, 182);
});

test("a handler that holds the lock too long is rolled back, and nobody waits much longer", async (t) => {
  const path = tempFile(t);
  const transport = await openTransport(t, { path });
  const child = await startChild(t, path, { do: "flood", topic: "a", batch: 10 });
  await inTransaction(transport.store, (tx) => tx.run("create table e (n)"));
  const slow = transport.store.begin({ signal: never });
  await slow.tx.run("insert into e values (1)");
  // The next one gets its turn when the slow one's time is over.
  await inTransaction(transport.store, (tx) => tx.query("select n from e"));
  await assert.rejects(slow.tx.run("insert into e values (2)"), (error) => isWaybillError(error, "TX_TOO_LONG"));
  await assert.rejects(slow.commit(), (error) => isWaybillError(error, "TX_TOO_LONG"));
  await slow.rollback();
  child.tell({ do: "stop" });
  await until("the other's report", () => child.told.some(({ kind }) => kind === "published"));
  const longest = child.told.reduce((most, one) => Math.max(most, one.kind === "published" ? one.longestMs : 0), 0);
  assert(longest >= 500 && longest < 2300, `the other process waited ${longest} ms`);
  assert.deepEqual(await inTransaction(transport.store, (tx) => tx.query("select * from e")), []);
});

test("no lock is held before the first use", async (t) => {
  const transport = await openTransport(t, { path: tempFile(t) });
  const idle = transport.store.begin({ signal: never });
  await publishAll(transport, [message("a", "1")]);
  await idle.commit();
});

test("a commit that fails says whether it took effect", async (t) => {
  let fault: "before" | "after" | undefined;
  const store = await openStore(t, tempFile(t), { commit: () => fault });
  await inTransaction(store, (tx) => tx.run("create table e (n)"));
  for (const [when, code, certainty, rows] of [
    ["before", "STORE", "definite", 0],
    ["after", "TX_UNKNOWN", "indefinite", 1],
  ] as const) {
    fault = when;
    await assert.rejects(
      inTransaction(store, (tx) => tx.run("insert into e values (1)")),
      (error) => isWaybillError(error, code) && error.certainty === certainty,
    );
    fault = undefined;
    assert.equal((await inTransaction(store, (tx) => tx.query("select * from e"))).length, rows);
  }
});

test("a handler can neither end the shared transaction nor write the transport's tables", async (t) => {
  const store = await openStore(t, tempFile(t));
  for (const sql of [
    "commit",
    "rollback",
    "savepoint x",
    "begin",
    "attach ':memory:' as x",
    "pragma user_version = 9",
    "delete from waybill_messages",
    "drop table waybill_inbox",
    "alter table waybill_inbox rename to mine",
    "create trigger x after insert on waybill_messages begin select 1; end",
  ]) {
    await assert.rejects(
      inTransaction(store, (tx) => tx.run(sql)),
      /authoriz|not allowed|prohibited/i,
      sql,
    );
  }
  await inTransaction(store, (tx) => tx.query("select count(*) as n from waybill_messages"));
});

test("the outbox keeps the order of a key while two relays take from it", async (t) => {
  const path = tempFile(t);
  const store = await openStore(t, path);
  const transaction = store.begin({ signal: never });
  await transaction.enqueue([
    message("a", "1", { key: "k", native: { x: 1 }, priority: 4, group: "g" }),
    message("a", "2", { key: "k" }),
    message("a", "3", { key: "other" }),
    message("a", "4"),
  ]);
  let woken = 0;
  const stop = store.outbox.watch(() => woken++);
  await transaction.commit();
  await until("the watcher is told", () => woken > 0);
  stop();
  const first = await store.outbox.take({ owner: "one", limit: 1, leaseMs: 60_000 });
  assert.deepEqual(
    first.map(({ message: { body } }) => Buffer.from(body as Uint8Array).toString()),
    ["1"],
  );
  assert.deepEqual(
    { ...first[0]?.message, body: 0 },
    { ...first[0]?.message, native: { x: 1 }, priority: 4, group: "g", topic: "a", key: "k", body: 0 },
  );
  const bodies = async (owner: string): Promise<string[]> =>
    (await store.outbox.take({ owner, limit: 10, leaseMs: 60_000 })).map(({ message: { body } }) =>
      Buffer.from(body as Uint8Array).toString(),
    );
  assert.deepEqual(await bodies("two"), ["3", "4"]);
  assert.deepEqual(await bodies("three"), []);
  await store.outbox.done("two", [1]);
  assert.equal((await store.outbox.backlog()).rows, 4, "another relay's row is not its to delete");
  await store.outbox.release("one", [1]);
  assert.deepEqual(await bodies("three"), ["1", "2"]);
  await store.outbox.done("three", [1, 2]);
  await store.outbox.done("two", [3, 4]);
  assert.deepEqual(await store.outbox.backlog(), { rows: 0, oldestAt: undefined });
});

test("inbox rows are forgotten by their age", async (t) => {
  const store = await openStore(t, tempFile(t));
  const transaction = store.begin({ signal: never });
  for (let n = 0; n < 6000; n++) await transaction.claim("g", String(n));
  await transaction.commit();
  assert.equal(await store.forget(60_000), 0);
  assert.equal(await store.forget(-1), 6000);
  assert.deepEqual(await store.applied("g", ["1"]), [false]);
});

test("a store knows its own transport by the file", async (t) => {
  const path = tempFile(t);
  const transport = await openTransport(t, { path });
  const same = await openStore(t, path);
  const other = await openStore(t, `${path}.other`);
  assert(transport.store.joins(transport));
  assert(same.joins(transport));
  assert(!other.joins(transport));
  const foreign = other.begin({ signal: never });
  const [outcome] = await transport.publish([message("a", "1")], { signal: never, tx: foreign });
  assert(outcome?.ok === false && outcome.error.code === "CONFIG");
});
