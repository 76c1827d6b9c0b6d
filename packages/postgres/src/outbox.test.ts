import assert from "node:assert/strict";
import { test } from "node:test";
import type { Message, OutboxRow, Store } from "@waybill/core";
import { inTransaction, message, never, openStore, sessions, until, useDatabase } from "./test.fixture.ts";
import type { PostgresTx } from "./tx.ts";

const database = useDatabase();
const bodyOf = ({ message: { body } }: OutboxRow): string => Buffer.from(body as Uint8Array).toString();

async function enqueue(store: Store<PostgresTx>, messages: readonly Message[]): Promise<void> {
  const transaction = store.begin({ signal: never });
  await transaction.enqueue(messages);
  await transaction.commit();
}

test("a message comes out as it went in", async (t) => {
  const { store } = await openStore(t, database);
  const headers = Object.assign(Object.create(null) as Record<string, string>, { a: "1", ü: "\u0000 \ud800", __proto__: "x" });
  const all = [
    message("a.b", "body", {
      headers,
      group: "g",
      key: "k\0",
      deliverAt: 5,
      expiresAt: 6.5,
      priority: 4,
      replyTo: "back",
      correlationId: "c",
      mandatory: true,
      native: { x: [1, null] },
    }),
    message("a", null),
    message("a", ""),
    message("a", "", { body: Uint8Array.from({ length: 256 }, (_, at) => at).subarray(3, 250) }),
  ];
  await enqueue(store, all);
  const [first] = all as [Message];
  await enqueue(store, [first]);
  const taken = await store.outbox.take({ owner: "me", limit: 10, leaseMs: 1_000 });
  assert.deepEqual(
    taken.map((row) => ({ ...row.message, body: row.message.body === null ? null : Buffer.from(row.message.body as Uint8Array) })),
    [...all, first].map((one) => ({ ...one, body: one.body === null ? null : Buffer.from(one.body as Uint8Array) })),
  );
  assert.equal(Object.getPrototypeOf(taken[0]?.message.headers), null);
});

test("the order of a key is kept while two relays take from it, and another relay's row is not its to delete", async (t) => {
  const { store } = await openStore(t, database);
  await enqueue(store, [
    message("a", "1", { key: "k" }),
    message("a", "2", { key: "k" }),
    message("a", "3", { key: "other" }),
    message("a", "4"),
  ]);
  const take = (owner: string, limit = 10): Promise<readonly OutboxRow[]> => store.outbox.take({ owner, limit, leaseMs: 60_000 });
  const one = await take("one", 1);
  const two = await take("two");
  assert.deepEqual([one.map(bodyOf), two.map(bodyOf), (await take("three")).map(bodyOf)], [["1"], ["3", "4"], []]);
  const rowsOf = (rows: readonly OutboxRow[]): number[] => rows.map(({ row }) => row);
  await store.outbox.done("two", rowsOf(one));
  await store.outbox.release("two", rowsOf(one));
  assert.equal((await store.outbox.backlog()).rows, 4);
  await store.outbox.release("one", rowsOf(one));
  const three = await take("three");
  assert.deepEqual(three.map(bodyOf), ["1", "2"]);
  assert.deepEqual((await take("three")).map(bodyOf), ["1", "2"], "its own rows, again");
  await store.outbox.done("three", rowsOf(three));
  await store.outbox.done("two", rowsOf(two));
  assert.deepEqual(await store.outbox.backlog(), { rows: 0, oldestAt: undefined });
});

test("rows of a relay that died go to another one when their lease is over", async (t) => {
  const { store } = await openStore(t, database);
  await enqueue(store, [message("a", "1", { key: "k" }), message("a", "2", { key: "k" })]);
  const before = Date.now();
  assert.equal((await store.outbox.take({ owner: "dead", limit: 1, leaseMs: 300 })).length, 1);
  assert.deepEqual(await store.outbox.take({ owner: "next", limit: 10, leaseMs: 1_000 }), []);
  let rows: readonly OutboxRow[] = [];
  await until("the lease is over", async () => (rows = await store.outbox.take({ owner: "next", limit: 10, leaseMs: 1_000 })).length > 0);
  assert(Date.now() - before >= 290);
  assert.deepEqual(rows.map(bodyOf), ["1", "2"]);
  const { oldestAt } = await store.outbox.backlog();
  assert(oldestAt !== undefined && Math.abs(oldestAt - before) < 10_000);
});

test("a row that somebody is changing holds back the later ones of its key, and nobody else", async (t) => {
  const { store, schema } = await openStore(t, database);
  await enqueue(store, [message("a", "1", { key: "k" }), message("a", "2", { key: "k" }), message("a", "3", { key: "x" })]);
  await inTransaction(store, async (tx) => {
    await tx.query(`update "${schema.replaceAll('"', '""')}".outbox set leased_until = null where id = 1`);
    const rows = await store.outbox.take({ owner: "me", limit: 10, leaseMs: 1_000 });
    assert.deepEqual(rows.map(bodyOf), ["3"]);
  });
});

test("a transaction that commits late is not passed over", async (t) => {
  const { store } = await openStore(t, database);
  const late = store.begin({ signal: never });
  await late.enqueue([message("a", "late", { key: "k" })]);
  await enqueue(store, [message("a", "early", { key: "k" })]);
  const take = async (): Promise<string[]> => {
    const rows = await store.outbox.take({ owner: "me", limit: 10, leaseMs: 1_000 });
    await store.outbox.done(
      "me",
      rows.map(({ row }) => row),
    );
    return rows.map(bodyOf);
  };
  assert.deepEqual(await take(), ["early"]);
  await late.commit();
  assert.deepEqual(await take(), ["late"]);
});

test("10,000 rows go out once each and in the order of their keys, by four relays at once", async (t) => {
  const { store } = await openStore(t, database);
  const count = 10_000;
  await enqueue(
    store,
    Array.from({ length: count }, (_, n) => message("a", String(n), n % 5 === 0 ? {} : { key: `k${n % 40}` })),
  );
  const sent: { readonly key: string | undefined; readonly n: number }[] = [];
  const relay = async (owner: string): Promise<void> => {
    while (sent.length < count) {
      const rows = await store.outbox.take({ owner, limit: 100, leaseMs: 60_000 });
      for (const row of rows) sent.push({ key: row.message.key, n: Number(bodyOf(row)) });
      await store.outbox.done(
        owner,
        rows.map(({ row }) => row),
      );
    }
  };
  await Promise.all(["1", "2", "3", "4"].map(relay));
  assert.equal(new Set(sent.map(({ n }) => n)).size, count);
  assert.equal(sent.length, count);
  const last = new Map<string, number>();
  for (const { key, n } of sent) {
    if (key === undefined) continue;
    assert(n > (last.get(key) ?? -1), `${n} after ${last.get(key)} of ${key}`);
    last.set(key, n);
  }
  assert.deepEqual(await store.outbox.backlog(), { rows: 0, oldestAt: undefined });
});

test("relays are woken: in this process directly, in another one by a notification, also after its connection broke", async (t) => {
  const { store, schema } = await openStore(t, database);
  const { store: writer } = await openStore(t, database, { schema });
  const listeners = (): Promise<{ pid: number }[]> =>
    database.sql("select pid from pg_stat_activity where query like 'listen %' and application_name = 'waybill'");
  let woken = 0;
  const stop = store.outbox.watch(() => (woken += 1));
  await until("it listens", async () => (await listeners()).length === 1);
  await until("it looks once when it listens", () => woken > 0);
  const wakes = async (by: Store<PostgresTx>): Promise<void> => {
    woken = 0;
    await enqueue(by, [message("a", "1")]);
    await until("a wake", () => woken > 0, 5_000);
  };
  await wakes(store);
  await wakes(writer);
  const [listener] = await listeners();
  await database.sql("select pg_terminate_backend($1)", [listener?.pid]);
  await until("it listens again", async () => (await listeners()).some(({ pid }) => pid !== listener?.pid));
  await wakes(writer);
  stop();
  await until("nobody listens", async () => (await listeners()).length === 0);
  woken = 0;
  await enqueue(store, [message("a", "1")]);
  assert.equal(woken, 0);
  assert.deepEqual(await sessions(database, "idle in transaction"), []);
});

test("native options that are no plain data are refused for good", async (t) => {
  const { store } = await openStore(t, database);
  const transaction = store.begin({ signal: never });
  await assert.rejects(transaction.enqueue([message("a", "1", { native: { n: 1n } })]), { code: "STORE", retryable: false });
  await transaction.rollback();
});
