import assert from "node:assert/strict";
import { afterEach, test, type TestContext } from "node:test";
import { createBus, event, fixed, isWaybillError, memory, type Bus, type Context } from "@waybill/core";
import { startProxy, type Proxy } from "@waybill/conformance";
import type { PostgresStoreOptions } from "./options.ts";
import { inTransaction, never, openStore, sessions, until, useDatabase } from "./test.fixture.ts";
import type { PostgresTx } from "./tx.ts";

const database = useDatabase();
const proxies: Proxy[] = [];
afterEach(async () => {
  for (const proxy of proxies.splice(0)) await proxy.close();
});

async function throughProxy(): Promise<{ readonly proxy: Proxy; readonly connectionString: string }> {
  const { host, port } = database.server;
  const proxy = await startProxy({ host, port });
  proxies.push(proxy);
  const url = new URL(database.url);
  url.port = String(proxy.port);
  return { proxy, connectionString: url.toString() };
}

test("a connection that breaks before the COMMIT is sent: definite, and nothing is there", async (t) => {
  const { store, table } = await openStore(t, database);
  const transaction = store.begin({ signal: never });
  await transaction.tx.query(`insert into ${table} values ('a', 1)`);
  assert(await transaction.claim("g", "a"));
  const [pid] = await sessions(database, "idle in transaction");
  await database.sql("select pg_terminate_backend($1)", [pid]);
  await until("it is gone", async () => (await sessions(database, "idle in transaction")).length === 0);
  await new Promise(setImmediate);
  await assert.rejects(transaction.commit(), (error) => isWaybillError(error) && error.code === "CONNECTION_LOST" && error.retryable);
  assert.deepEqual(await store.applied("g", ["a"]), [false]);
  await inTransaction(store, (tx) => tx.query("select 1"));
});

for (const [name, direction, there] of [
  ["its answer is lost", "toClient", true],
  ["it never arrives", "toServer", false],
] as const) {
  test(`a COMMIT of which ${name}: indefinite, and the inbox row tells`, async (t) => {
    const { proxy, connectionString } = await throughProxy();
    const { store, table, schema } = await openStore(t, database, { connectionString, statementTimeout: 400 });
    const { store: beside } = await openStore(t, database, { schema });
    const transaction = store.begin({ signal: never });
    await transaction.tx.query(`insert into ${table} values ('a', 1)`);
    assert(await transaction.claim("g", "a"));
    proxy.blackHole(direction);
    const committing = transaction.commit();
    committing.catch(() => undefined);
    await until("the fault has hit the COMMIT", () => proxy.traffic().swallowed > 0);
    await assert.rejects(committing, (error) => isWaybillError(error, "TX_UNKNOWN") && error.certainty === "indefinite");
    proxy.heal();
    assert.deepEqual(await beside.applied("g", ["a"]), [there]);
    assert.equal((await database.sql(`select * from ${table}`)).length, there ? 1 : 0);
    const next = store.begin({ signal: never });
    assert.equal(await next.claim("g", "a"), !there);
    await next.rollback();
  });
}

const Order = event<number>("order", { key: (n) => `k${n % 7}` });
const Done = event<number>("done", { key: (n) => `k${n % 7}` });

interface Running {
  readonly bus: Bus;
  readonly table: string;
  readonly done: number[];
  /** All effects once, all messages sent, nothing dead-lettered. */
  settled(count: number): Promise<void>;
}

/** A service that moves each order into a table and publishes that it is done. */
async function run(
  t: TestContext,
  options: Partial<PostgresStoreOptions>,
  work?: (order: number, ctx: Context<PostgresTx>) => Promise<unknown>,
): Promise<Running> {
  const { store, table } = await openStore(t, database, options);
  const bus = createBus({ name: "service", transport: memory() });
  t.after(() => bus.close({ drain: "1s" }));
  const done: number[] = [];
  bus.subscribe(
    Order,
    { group: "g", concurrency: 8, exactlyOnce: store, retry: { attempts: 2, backoff: fixed(20) } },
    async (order, ctx) => {
      await ctx.tx.query(`insert into ${table} values ($1, $2)`, [ctx.message.id, order]);
      await work?.(order, ctx);
      await ctx.publish(Done, order);
    },
  );
  bus.subscribe(Done, { group: "audit" }, async (order) => void done.push(order));
  await bus.start();
  return {
    bus,
    table,
    done,
    async settled(count) {
      await until("all is done", () => new Set(done).size === count, 30_000);
      await until("all is settled", () => bus.status().subscriptions.every(({ unsettled }) => unsettled === 0));
      const rows = await database.sql<{ n: number }>(`select n from ${table}`);
      const expected = Array.from({ length: count }, (_, n) => n);
      assert.deepEqual(
        rows.map(({ n }) => n).sort((a, b) => a - b),
        expected,
      );
      const counters = bus.metrics().groups["order"]?.["g"];
      assert.deepEqual([counters?.deadLettered, counters?.dropped], [0, 0]);
    },
  };
}

const numbers = (from: number, count: number): number[] => Array.from({ length: count }, (_, n) => from + n);

test("connections that are cut at any byte: every effect once, no attempt counted, nothing dead-lettered", async (t) => {
  const { proxy, connectionString } = await throughProxy();
  const service = await run(t, { connectionString, statementTimeout: "2s" });
  let published = 0;
  for (let cut = 0; cut < 25; cut += 1) {
    proxy.cutAfter(200 + ((cut * 7_919) % 9_000), cut % 2 === 0 ? "toClient" : "toServer");
    const cuts = proxy.traffic().cuts;
    await service.bus.publishMany(Order, numbers(published, 20));
    published += 20;
    await until("the cut", () => proxy.traffic().cuts > cuts || service.done.length >= published);
  }
  proxy.heal();
  assert(proxy.traffic().cuts >= 15, `${proxy.traffic().cuts} cuts`);
  await service.settled(published);
  assert.equal(service.bus.metrics().groups["order"]?.["g"]?.failed, 0);
});

test("sessions that are ended while handlers run, again and again", async (t) => {
  const service = await run(t, {});
  let published = 0;
  for (let round = 0; round < 15; round += 1) {
    await service.bus.publishMany(Order, numbers(published, 20));
    published += 20;
    await until("some are done", () => service.done.length > published - 15);
    await database.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'waybill'");
  }
  await service.settled(published);
});

test("the server is killed, and stopped, while handlers run: they go on when it is back", { timeout: 90_000 }, async (t) => {
  if (!database.server.mine) return t.skip("the server is not ours to stop");
  const service = await run(t, { connectTimeout: "15s" });
  const [node] = database.server.nodes;
  assert(node !== undefined);
  let published = 0;
  for (const end of ["kill", "stop"] as const) {
    await service.bus.publishMany(Order, numbers(published, 200));
    published += 200;
    await until("some are done", () => service.done.length > published - 150);
    await node[end]();
    await service.bus.publishMany(Order, numbers(published, 20));
    published += 20;
    await until("they are at work", () => service.bus.status().subscriptions.some(({ running }) => running > 0));
    await node.start();
    await service.settled(published);
  }
  assert.equal(service.bus.metrics().groups["order"]?.["g"]?.failed, 0);
});

for (const [what, isolation, order, count] of [
  ["serialization failures", "serializable", () => ["0", "1"], 60],
  ["deadlocks", "read committed", (n: number) => (n % 2 === 0 ? ["0", "1"] : ["1", "0"]), 12],
] as const) {
  test(`${what} are tried again and not counted`, async (t) => {
    await database.sql("alter database postgres set deadlock_timeout = '20ms'");
    const { table: accounts } = await openStore(t, database);
    await database.sql(`insert into ${accounts} values ('0', 0), ('1', 0)`);
    const met = new Set<unknown>();
    const service = await run(t, { isolation }, async (n, { tx }) => {
      for (const id of order(n)) {
        await tx.query(`update ${accounts} set n = n + 1 where id = $1`, [id]).catch((error: { readonly code: string }) => {
          met.add(error.code);
          throw error;
        });
        await new Promise(setImmediate);
      }
    });
    await service.bus.publishMany(Order, numbers(0, count));
    await service.settled(count);
    assert.equal(service.bus.metrics().groups["order"]?.["g"]?.failed, 0);
    assert.deepEqual(await database.sql(`select n from ${accounts}`), [{ n: count }, { n: count }]);
    assert.deepEqual([...met], [what === "deadlocks" ? "40P01" : "40001"]);
  });
}

test("what a handler breaks at the commit, and a failure that it swallowed, use up its attempts", async (t) => {
  const { store, table } = await openStore(t, database);
  await database.sql(`alter table ${table} add unique (id) deferrable initially deferred`);
  const bus = createBus({ name: "service", transport: memory() });
  t.after(() => bus.close({ drain: "1s" }));
  const attempts = new Map<number, number>();
  bus.subscribe(
    Order,
    { group: "g", exactlyOnce: store, retry: { attempts: 3, backoff: fixed(5), deadLetter: true } },
    async (order, { tx }) => {
      attempts.set(order, (attempts.get(order) ?? 0) + 1);
      if (order === 0) await tx.query(`insert into ${table} values ('same', 1), ('same', 2)`);
      else await tx.query("select 1/0").catch(() => undefined);
    },
  );
  await bus.start();
  await bus.publishMany(Order, [0, 1]);
  await until("both are dead letters", () => bus.metrics().groups["order"]?.["g"]?.deadLettered === 2);
  assert.deepEqual([...attempts.values()], [3, 3]);
  assert.deepEqual(await sessions(database, "idle in transaction"), []);
});
