import assert from "node:assert/strict";
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import type { Store } from "@waybill/core";
import type { FrozenOrder } from "./frozen.fixture.ts";
import { never, openStore, until, useDatabase } from "./test.fixture.ts";
import type { PostgresTx } from "./tx.ts";

const database = useDatabase();
const limitMs = 1_500;

async function holder(t: TestContext, schema: string, table: string, id: string): Promise<ChildProcess> {
  const order: FrozenOrder = { connectionString: database.url, schema, table, id, transactionLimit: limitMs };
  const child = fork(fileURLToPath(new URL("./frozen.fixture.ts", import.meta.url)), [JSON.stringify(order)], {
    env: { ...process.env, NODE_TEST_CONTEXT: undefined },
  });
  t.after(() => child.kill("SIGKILL"));
  const [told] = (await once(child, "message")) as [unknown];
  assert.deepEqual(told, { claimed: true });
  return child;
}

/** Takes the message over: waits for who has it in hand, and does its work if that one did not. */
async function takeOver(store: Store<PostgresTx>, table: string, id: string): Promise<boolean> {
  const transaction = store.begin({ signal: never });
  await transaction.tx.query(`insert into ${table} values ($1, 2)`, [id]);
  const claimed = await transaction.claim("g", id);
  if (claimed) await transaction.commit();
  else await transaction.rollback();
  return claimed;
}

test("a process that is killed in its transaction gives the message back at once, and leaves nothing", async (t) => {
  const { store, schema, table } = await openStore(t, database);
  const child = await holder(t, schema, table, "a");
  const taking = takeOver(store, table, "a");
  const started = performance.now();
  child.kill("SIGKILL");
  assert(await taking);
  assert(performance.now() - started < limitMs - 200);
  assert.deepEqual(await database.sql(`select n from ${table}`), [{ n: 2 }]);
});

test("a process that is frozen in its transaction holds the message no longer than the limit, and cannot commit when it wakes up", async (t) => {
  const { store, schema, table } = await openStore(t, database);
  const child = await holder(t, schema, table, "a");
  child.kill("SIGSTOP");
  const started = performance.now();
  assert(await takeOver(store, table, "a"));
  assert(performance.now() - started > 200, "it waited");
  const outcome = once(child, "message");
  child.send("commit");
  child.kill("SIGCONT");
  assert.deepEqual((await outcome)[0], { outcome: "definite" });
  assert.deepEqual(await database.sql(`select n from ${table}`), [{ n: 2 }]);
  await until("it ends", () => child.exitCode !== null);
});
