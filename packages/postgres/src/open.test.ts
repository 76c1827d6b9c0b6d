import assert from "node:assert/strict";
import { test } from "node:test";
import { isWaybillError, type WaybillError } from "@waybill/core";
import { startProxy } from "@waybill/conformance";
import { escapeIdentifier, Pool } from "pg";
import type { PostgresStoreOptions } from "./options.ts";
import { postgresMigrations } from "./schema.ts";
import { postgresStore } from "./store.ts";
import { newSchema, openStore, until, useDatabase } from "./test.fixture.ts";

const database = useDatabase();
const secret = "s3cret-pass";

async function failure(options: PostgresStoreOptions, limitMs = 20_000): Promise<WaybillError> {
  const store = postgresStore(options);
  try {
    await store.open({ signal: AbortSignal.timeout(limitMs) });
  } catch (error) {
    assert(isWaybillError(error));
    for (let part: unknown = error; part instanceof Error; part = part.cause) assert(!`${part.message}${part.stack}`.includes(secret));
    return error;
  } finally {
    await store.close();
  }
  throw new assert.AssertionError({ message: "it opened" });
}

test("wrong options are refused by their paths", () => {
  const pool = new Pool();
  const url = "postgres://a@localhost/b";
  for (const [options, path] of [
    [{}, "exactly one of pool and connectionString"],
    [{ pool, connectionString: url }, "exactly one of pool and connectionString"],
    [{ pool: {} }, "postgresStore.pool"],
    [{ connectionString: `http://u:${secret}@h/d` }, "postgresStore.connectionString"],
    [{ connectionString: `postgres://u:${secret}@h:99999999/d` }, "postgresStore.connectionString"],
    [{ pool, maxConnections: 3 }, "postgresStore.maxConnections"],
    [{ connectionString: url, schema: "" }, "postgresStore.schema"],
    [{ connectionString: url, schema: "ü".repeat(32) }, "postgresStore.schema"],
    [{ connectionString: url, schema: "a\0b" }, "postgresStore.schema"],
    [{ connectionString: url, isolation: "dirty" }, "postgresStore.isolation"],
    [{ connectionString: url, lockTimeout: "1 parsec" }, "postgresStore.lockTimeout"],
    [{ connectionString: url, scheme: "x" }, "postgresStore.scheme"],
  ] as const) {
    assert.throws(
      () => postgresStore(options as unknown as PostgresStoreOptions),
      (error) => isWaybillError(error, "CONFIG") && error.message.includes(path) && !error.message.includes(secret),
      path,
    );
  }
});

test("sixteen stores that open at once make the tables once", async (t) => {
  const schema = newSchema();
  const stores = Array.from({ length: 16 }, () => postgresStore({ connectionString: database.url, schema, maxConnections: 1 }));
  t.after(() => Promise.all(stores.map((store) => store.close())));
  await Promise.all(stores.map((store) => store.open({ signal: AbortSignal.timeout(20_000) })));
  const [store] = stores;
  await store?.open({ signal: AbortSignal.timeout(20_000) });
  assert.deepEqual(await database.sql(`select version from ${escapeIdentifier(schema)}.migrations`), [{ version: 1 }]);
});

test("the migrations can be applied by another tool, and are then only looked for", async (t) => {
  const schema = newSchema();
  const refused = await failure({ connectionString: database.url, schema, migrate: "check" });
  assert.equal(refused.code, "CONFIG");
  assert.match(refused.remedy, /postgresMigrations/);
  for (const { sql } of postgresMigrations({ schema })) await database.sql(sql);
  const { store } = await openStore(t, database, { schema, migrate: "check" });
  assert.deepEqual(await store.applied("g", ["1"]), [false]);
  await database.sql(`insert into ${escapeIdentifier(schema)}.migrations values (99, 'later')`);
  const newer = await failure({ connectionString: database.url, schema });
  assert.equal(newer.code, "FILE_VERSION");
});

test("wrong credentials, a missing database and missing rights end the opening at once, with a remedy", async () => {
  const schema = newSchema();
  await database.sql(`create role reader login password '${secret}'`);
  const url = new URL(database.url);
  url.username = "reader";
  url.password = secret;
  const connectionString = url.toString();
  const creates = await failure({ connectionString, schema });
  assert.deepEqual([creates.code, creates.retryable], ["AUTH", false]);
  assert.match(creates.remedy, /grant create/);
  for (const { sql } of postgresMigrations({ schema })) await database.sql(sql);
  const uses = await failure({ connectionString, schema });
  assert.equal(uses.code, "AUTH");
  assert.match(uses.remedy, /grant usage/);
  const s = escapeIdentifier(schema);
  await database.sql(`grant usage on schema ${s} to reader; grant select on ${s}.migrations to reader`);
  const store = postgresStore({ connectionString, schema });
  await store.open({ signal: AbortSignal.timeout(20_000) });
  await assert.rejects(store.applied("g", ["1"]), (error) => isWaybillError(error, "AUTH") && error.remedy.includes("insert"));
  await store.close();
  url.pathname = "/nowhere";
  assert.equal((await failure({ connectionString: url.toString(), schema })).code, "CONFIG");
  url.username = "nobody";
  assert.equal((await failure({ connectionString: url.toString(), schema })).code, "AUTH");
});

test("a password is asked for, refused and never told", async () => {
  const [file] = await database.sql<{ hba_file: string }>("show hba_file");
  const hba = await database.sql<{ text: string }>("select pg_read_file($1) as text", [file?.hba_file]);
  await database.sql(`create role locked login password '${secret}'`);
  const write = async (text: string): Promise<void> => {
    await database.sql("create temp table if not exists hba (line text)");
    await database.sql("truncate hba");
    await database.sql("insert into hba select unnest($1::text[])", [text.split("\n")]);
    await database.sql(`copy hba to '${file?.hba_file}'`);
    await database.sql("select pg_reload_conf()");
  };
  await write(`host all locked 127.0.0.1/32 scram-sha-256\n${hba[0]?.text}`);
  const url = new URL(database.url);
  url.username = "locked";
  await until("the rule is in force", async () => {
    const store = postgresStore({ connectionString: url.toString() });
    const error: unknown = await store.open({ signal: AbortSignal.timeout(20_000) }).catch((thrown: unknown) => thrown);
    await store.close();
    return isWaybillError(error, "AUTH");
  });
  assert.match((await failure({ connectionString: url.toString() })).message, /asks for a password/);
  url.password = `${secret}-wrong`;
  const wrong = await failure({ connectionString: url.toString() });
  assert.deepEqual([wrong.code, wrong.retryable], ["AUTH", false]);
  assert.match(wrong.remedy, /password/);
  url.searchParams.set("sslmode", "verify-full");
  assert.equal((await failure({ connectionString: url.toString() })).code, "TLS");
  await write(String(hba[0]?.text));
});

test("opening waits for a server that is away, no longer than it may", async () => {
  const { host, port } = database.server;
  const proxy = await startProxy({ host, port });
  const url = new URL(database.url);
  url.port = String(proxy.port);
  const schema = newSchema();
  try {
    proxy.refuse();
    const started = performance.now();
    const gone = await failure({ connectionString: url.toString(), schema, connectTimeout: 400 });
    assert(gone.retryable && gone.code.startsWith("CONNECTION"), gone.code);
    assert(performance.now() - started < 5_000);
    proxy.heal();
    proxy.blackHole("both");
    const hole = await failure({ connectionString: url.toString(), schema }, 300);
    assert.equal(hole.code, "ABORTED");
    proxy.heal();
    proxy.refuse();
    const store = postgresStore({ connectionString: url.toString(), schema });
    const opened = store.open({ signal: AbortSignal.timeout(20_000) });
    await until("it tries", () => proxy.traffic().refused > 3);
    proxy.heal();
    await opened;
    await store.close();
    assert(proxy.traffic().toServer > 0);
  } finally {
    await proxy.close();
  }
});

test("a closed store refuses, a user's pool stays open, and both may be closed twice", async (t) => {
  const pool = new Pool({ connectionString: database.url, max: 2 });
  t.after(() => pool.end());
  const { store } = await openStore(t, database, { pool });
  const open = store.begin({ signal: AbortSignal.timeout(20_000) });
  await open.tx.query("select 1");
  await Promise.all([store.close(), store.close()]);
  await assert.rejects(open.tx.query("select 1"), { code: "CLOSED" });
  await assert.rejects(store.applied("g", ["1"]), { code: "CLOSED" });
  await assert.rejects(store.open({ signal: AbortSignal.timeout(20_000) }), { code: "CLOSED" });
  assert.equal((await pool.query("select 1 as one")).rowCount, 1);
  assert.equal(pool.idleCount, pool.totalCount);
  assert.throws(() => store.begin({ signal: AbortSignal.timeout(20_000) }), { code: "CLOSED" });
});
