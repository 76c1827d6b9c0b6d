import assert from "node:assert/strict";
import { test } from "node:test";
import { isWaybillError, type Logger } from "@waybill/core";
import { Pool } from "pg";
import { inTransaction, message, never, openStore, sessions, until, useDatabase } from "./test.fixture.ts";

const database = useDatabase();

test("writes, inbox row and outbox rows commit together, or not at all", async (t) => {
  const { store, table } = await openStore(t, database);
  for (const [id, commits] of [
    ["a", false],
    ["b", true],
  ] as const) {
    const transaction = store.begin({ signal: never });
    await transaction.tx.query(`insert into ${table} values ($1, 1)`, [id]);
    assert(await transaction.claim("g", id));
    assert(!(await transaction.claim("g", id)), "claimed by this very transaction");
    await transaction.enqueue([message("out", id), message("out", id)]);
    if (commits) await transaction.commit();
    await transaction.rollback();
    await transaction.rollback();
  }
  assert.deepEqual(await store.applied("g", ["a", "b", "c"]), [false, true, false]);
  assert.deepEqual(await store.applied("other", ["b"]), [false]);
  assert.deepEqual(await database.sql(`select id from ${table}`), [{ id: "b" }]);
  assert.equal((await store.outbox.backlog()).rows, 2);
  const again = store.begin({ signal: never });
  assert(!(await again.claim("g", "b")));
  assert(await again.claim("other", "b"), "another group has its own");
  await again.rollback();
});

test("claims that are made together are one statement, each with its own answer", async (t) => {
  const { store } = await openStore(t, database);
  await inTransaction(store, async () => undefined);
  const first = store.begin({ signal: never });
  assert(await first.claim("g", "3"));
  await first.commit();
  const transaction = store.begin({ signal: never });
  const ids = ["9", "3", "1", "1", "2"];
  const claimed = await Promise.all(ids.map((id) => transaction.claim("g", id)));
  assert.deepEqual(claimed, [true, false, true, false, true]);
  await transaction.commit();
  assert.deepEqual(await store.applied("g", ["1", "2", "3", "9"]), [true, true, true, true]);
});

test("of two transactions with one message the second waits for the first, and then knows", async (t) => {
  const { store } = await openStore(t, database);
  for (const commits of [true, false]) {
    const id = `m ${commits}`;
    const [one, two] = [store.begin({ signal: never }), store.begin({ signal: never })];
    assert(await one.claim("g", id));
    let answer: boolean | undefined;
    const waiting = two.claim("g", id).then((claimed) => (answer = claimed));
    await until("the second waits", async () => (await lockWaiters()) === 1);
    assert.equal(answer, undefined);
    await (commits ? one.commit() : one.rollback());
    assert.equal(await waiting, !commits);
    await two.rollback();
  }
});

async function lockWaiters(): Promise<number> {
  const rows = await database.sql<{ n: string }>("select count(*)::text as n from pg_stat_activity where wait_event_type = 'Lock'");
  return Number(rows[0]?.n);
}

test("no connection is taken before the first use", async (t) => {
  const pool = new Pool({ connectionString: database.url, max: 1 });
  t.after(() => pool.end());
  const { store } = await openStore(t, database, { pool });
  const idle = Array.from({ length: 5 }, () => store.begin({ signal: never }));
  await inTransaction(store, (tx) => tx.query("select 1"));
  for (const transaction of idle) await transaction.commit();
  assert.equal(pool.totalCount, 1);
});

test("statements of one handler run one after another, however they are awaited", async (t) => {
  const { store, table } = await openStore(t, database);
  await inTransaction(store, async (tx) => {
    await Promise.all(Array.from({ length: 20 }, (_, n) => tx.query(`insert into ${table} values ('x', ${n})`)));
    const client = await tx.client();
    assert.equal((await client.query(`select * from ${table}`)).rowCount, 20, "the client is in the transaction");
  });
  const rows = await database.sql<{ n: number }>(`select n from ${table} order by ctid`);
  assert.deepEqual(
    rows.map(({ n }) => n),
    Array.from({ length: 20 }, (_, n) => n),
  );
});

test("a handler cannot end the transaction, and one that gets around that is told", async (t) => {
  const { store, table } = await openStore(t, database);
  for (const text of ["commit", " ; END", "Rollback", "begin", "start  transaction", "/* a */ -- b\n abort", "rollback work and chain"]) {
    await assert.rejects(
      inTransaction(store, (tx) => tx.query(text)),
      (error) => isWaybillError(error, "CONFIG") && error.message.includes("belongs to the store"),
      text,
    );
  }
  await inTransaction(store, async (tx) => {
    await tx.query("savepoint one");
    await tx.query(`insert into ${table} values ('gone', 1)`);
    await tx.query("rollback to one");
    await tx.query("ROLLBACK TRANSACTION TO SAVEPOINT one");
    await tx.query(`insert into ${table} values ('kept', 1)`);
  });
  assert.deepEqual(await database.sql(`select id from ${table}`), [{ id: "kept" }]);
  const around = store.begin({ signal: never });
  await (await around.tx.client()).query("commit");
  await assert.rejects(around.claim("g", "1"), (error) => isWaybillError(error, "STORE") && !error.retryable);
  await around.rollback();
  assert.deepEqual(await store.applied("g", ["1"]), [false]);
});

test("a failed statement that the handler swallowed does not pass for a commit", async (t) => {
  const { store, table } = await openStore(t, database);
  const transaction = store.begin({ signal: never });
  await transaction.tx.query(`insert into ${table} values ('a', 1)`);
  await assert.rejects(transaction.tx.query("select 1/0"), { code: "22012" });
  const definite = (error: unknown): boolean => isWaybillError(error, "STORE") && !error.retryable && error.certainty === "definite";
  await assert.rejects(transaction.claim("g", "1"), definite);
  await assert.rejects(transaction.commit(), definite);
  assert.deepEqual(await database.sql(`select id from ${table}`), []);
});

test("a constraint that is checked at the commit fails it, definite and final", async (t) => {
  const { store, table } = await openStore(t, database);
  await database.sql(`alter table ${table} add unique (id) deferrable initially deferred`);
  const insert = inTransaction(store, async (tx) => {
    await tx.query(`insert into ${table} values ('a', 1), ('a', 2)`);
  });
  await assert.rejects(insert, (error) => isWaybillError(error, "STORE") && error.certainty === "definite" && !error.retryable);
  assert.deepEqual(await sessions(database, "idle in transaction"), []);
});

test("inbox rows are forgotten by their age, not before the redelivery horizon, and that is said once", async (t) => {
  const { store, schema } = await openStore(t, database);
  const transaction = store.begin({ signal: never });
  await Promise.all(Array.from({ length: 6_000 }, (_, n) => transaction.claim("g", String(n))));
  await transaction.commit();
  const warnings: unknown[] = [];
  const silent = (): void => undefined;
  const logger: Logger = { debug: silent, info: silent, warn: (fields) => warnings.push(fields), error: silent };
  const { store: careful } = await openStore(t, database, { schema, redeliveryHorizon: "1h", logger });
  assert.equal(await careful.forget(1), 0);
  assert.equal(await careful.forget(1), 0);
  assert.deepEqual(warnings, [{ schema, keepInboxMs: 1, redeliveryHorizonMs: 3_600_000 }]);
  assert.equal(await store.forget(60_000), 0);
  assert.equal(await store.forget(-1), 6_000);
  assert.deepEqual(await store.applied("g", ["1"]), [false]);
});

test("ids and groups of any shape are kept apart", async (t) => {
  const { store } = await openStore(t, database);
  const ids = ["a\0b", "a\u0001b", "\ud800", "\ud801", "'; drop table e; --", "x".repeat(5_000), "x".repeat(5_001), "\u0001", "ü"];
  const transaction = store.begin({ signal: never });
  assert.deepEqual(
    await Promise.all(ids.map((id) => transaction.claim(id, id))),
    ids.map(() => true),
  );
  await transaction.commit();
  for (const id of ids)
    assert.deepEqual(
      await store.applied(id, ids),
      ids.map((other) => other === id),
    );
});

test("what its attempt has given up is rolled back at once, also in the middle of a statement", async (t) => {
  const { store, table } = await openStore(t, database);
  for (const statement of [undefined, "select pg_sleep(30)"]) {
    const attempt = new AbortController();
    const transaction = store.begin({ signal: attempt.signal });
    await transaction.tx.query(`insert into ${table} values ('a', 1)`);
    const running = statement === undefined ? undefined : transaction.tx.query(statement);
    if (running !== undefined) await until("it runs", async () => (await sessions(database, "active")).length === 1);
    attempt.abort();
    if (running !== undefined) await assert.rejects(running, (error) => isWaybillError(error, "CLOSED"));
    await assert.rejects(transaction.tx.query("select 1"), (error) => isWaybillError(error, "CLOSED"));
    await assert.rejects(transaction.commit(), (error) => isWaybillError(error, "CLOSED"));
    await until("the server has let go", async () => {
      const states = await Promise.all([sessions(database, "active"), sessions(database, "idle in transaction")]);
      return states.flat().length === 0;
    });
  }
  assert.deepEqual(await database.sql(`select id from ${table}`), []);
});

test("limits: of a transaction, of a statement, of the wait for a lock, of the wait for a connection", async (t) => {
  const limits = { statementTimeout: 300, lockTimeout: 150, transactionLimit: 3_000, connectTimeout: 500, maxConnections: 2 };
  const { store, table } = await openStore(t, database, limits);
  const holder = store.begin({ signal: never });
  await holder.tx.query(`lock table ${table}`);
  await assert.rejects(
    inTransaction(store, (tx) => tx.query(`select * from ${table}`)),
    { code: "55P03" },
  );
  await assert.rejects(
    inTransaction(store, (tx) => tx.query("select pg_sleep(5)")),
    { code: "57014" },
  );
  const other = store.begin({ signal: never });
  await other.tx.query("select 1");
  await assert.rejects(
    inTransaction(store, (tx) => tx.query("select 1")),
    (error) => isWaybillError(error, "POOL_TIMEOUT") && error.remedy.includes("maxConnections"),
  );
  await until("the holder's time is over", async () => (await sessions(database, "idle in transaction")).length === 0);
  for (const late of [holder, other]) {
    await assert.rejects(late.tx.query("select 1"), (error) => isWaybillError(error, "TX_TOO_LONG"));
    await assert.rejects(late.commit(), (error) => isWaybillError(error, "TX_TOO_LONG") && error.certainty === "definite");
  }
});
