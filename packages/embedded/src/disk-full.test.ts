import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { isWaybillError } from "@waybill/core";
import { message, never, openTransport, publishAll, take, tempFile, until } from "./test.fixture.ts";

test("a full disk refuses publishes for certain, still takes acknowledgements, and goes on when there is room", async (t) => {
  const path = tempFile(t);
  const maxFileBytes = 4 * 1024 * 1024;
  const transport = await openTransport(t, { path, maxFileBytes, retention: 1 });
  const taken = await take(transport, { topic: "a", group: "g", credit: { messages: 10, bytes: 1e9 } });
  let stored = 0;
  let refused: unknown;
  const size = 50_000;
  for (; refused === undefined;) {
    const [outcome] = await transport.publish([message("a", String(stored).padEnd(size))], { signal: never });
    if (outcome?.ok === true) stored++;
    else refused = outcome?.error;
    assert(stored < 1000);
  }
  assert(isWaybillError(refused, "DISK_FULL") && refused.certainty === "definite" && refused.retryable);
  await until("some", () => taken.got.length > 0);
  for (let next = 0; next < stored; next++) {
    await until("the next", () => taken.got.length > next);
    const [outcome] = await taken.subscription.settle([{ kind: "ack", delivery: taken.got[next]! }]);
    assert.equal(outcome, "done");
  }
  assert.deepEqual(
    taken.bodies().map(Number),
    Array.from({ length: stored }, (_, n) => n),
    "what was refused was not stored",
  );
  await until(
    "there is room again",
    async () => (await transport.publish([message("a", "x".padEnd(size))], { signal: never }))[0]?.ok === true,
    30_000,
  );
  await until("and it arrives", () => taken.got.length === stored + 1);
});

test("a store on a full file refuses its commit for certain", async (t) => {
  const path = tempFile(t);
  const transport = await openTransport(t, { path, maxFileBytes: 1024 * 1024 });
  const setup = transport.store.begin({ signal: never });
  await setup.tx.run("create table e (data)");
  await setup.commit();
  let failure: unknown;
  let rows = 0;
  for (; failure === undefined;) {
    const transaction = transport.store.begin({ signal: never });
    try {
      await transaction.tx.run("insert into e values (zeroblob(40000))");
      await transaction.commit();
      rows++;
    } catch (error) {
      failure = error;
      await transaction.rollback();
    }
    assert(rows < 100);
  }
  assert(failure instanceof Error);
  const db = new DatabaseSync(path, { readOnly: true });
  assert.equal(db.prepare("select count(*) as n from e").get()?.["n"], rows);
  db.close();
});

test("the lock of another program is waited for, and then refused for certain", async (t) => {
  const path = tempFile(t);
  const transport = await openTransport(t, { path, lockTimeout: 300 });
  await publishAll(transport, [message("a", "1")]);
  const other = new DatabaseSync(path, { timeout: 5000 });
  other.exec("begin immediate");
  try {
    const [outcome] = await transport.publish([message("a", "2")], { signal: never });
    assert(outcome?.ok === false && outcome.error.code === "BUSY" && outcome.error.certainty === "definite");
    const gaveUp = new AbortController();
    const first = transport.publish([message("a", "3")], { signal: never });
    const second = transport.publish([message("a", "4")], { signal: gaveUp.signal });
    gaveUp.abort();
    const [aborted] = await second;
    assert(aborted?.ok === false && aborted.error.code === "ABORTED");
    assert((await first)[0]?.ok === false);
  } finally {
    other.exec("rollback");
    other.close();
  }
  await publishAll(transport, [message("a", "5")]);
});
