import assert from "node:assert/strict";
import { chmodSync, linkSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test, type TestContext } from "node:test";
import { isWaybillError, type WaybillError } from "@waybill/core";
import { embedded } from "./transport.ts";
import { embeddedStore } from "./store.ts";
import { message, openTransport, publishAll, tempFile } from "./test.fixture.ts";

async function refusal(t: TestContext, path: string): Promise<WaybillError> {
  const transport = embedded({ path });
  t.after(() => transport.close());
  const error = await transport.connect({ signal: AbortSignal.timeout(10_000), onStatus: () => undefined }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert(isWaybillError(error));
  return error;
}

test("the file and its companions are readable by their owner alone", async (t) => {
  const path = tempFile(t);
  const before = process.umask(0);
  try {
    const transport = await openTransport(t, { path });
    await publishAll(transport, [message("a", "1")]);
    const files = readdirSync(dirname(path));
    assert.deepEqual(files.toSorted(), ["waybill.db", "waybill.db-shm", "waybill.db-wal"]);
    for (const file of files) assert.equal(statSync(join(dirname(path), file)).mode & 0o777, 0o600, file);
  } finally {
    process.umask(before);
  }
});

test("every wrong option is listed, with what was expected", () => {
  const wrong = { path: "", retention: "soon", deduplicationIds: 1, maxBodyBytes: 0, lockTimeout: -1, pollevery: 3, faults: { commit: 1 } };
  for (const make of [() => embedded(wrong as never), () => embeddedStore({ ...wrong, transactionLimit: "x" } as never)]) {
    assert.throws(make, (error: unknown) => {
      assert(isWaybillError(error, "CONFIG"));
      for (const path of ["path", "lockTimeout", "faults.commit", "pollevery"]) assert.match(error.message, new RegExp(path));
      return true;
    });
  }
});

test("a path that cannot be used is refused with the reason", async (t) => {
  const path = tempFile(t);
  const directory = dirname(path);
  assert.match((await refusal(t, join(directory, "missing", "x.db"))).message, /directory that does not exist/);
  assert.match((await refusal(t, directory)).message, /not a file/);
  writeFileSync(join(directory, "real"), "");
  symlinkSync(join(directory, "real"), join(directory, "link"));
  assert.match((await refusal(t, join(directory, "link"))).message, /symbolic link/);
  assert.equal(statSync(join(directory, "real")).size, 0);
  linkSync(join(directory, "real"), join(directory, "second"));
  assert.match((await refusal(t, join(directory, "second"))).message, /second name/);
  assert.equal((await refusal(t, join(directory, "link"))).code, "CONFIG");
});

test("a file of another program is refused and left as it is", async (t) => {
  const path = tempFile(t);
  const db = new DatabaseSync(path);
  db.exec("create table theirs (a)");
  db.close();
  const before = readFileSync(path);
  const error = await refusal(t, path);
  assert.equal(error.code, "CONFIG");
  assert.match(error.message, /another program/);
  assert.deepEqual(readFileSync(path), before);
});

test("a file that is no database is CORRUPT, and names salvage", async (t) => {
  const path = tempFile(t);
  writeFileSync(path, Buffer.alloc(20_000, "garbage "));
  const error = await refusal(t, path);
  assert.equal(error.code, "CORRUPT");
  assert.match(error.remedy, /salvage/);
});

test("a file of a newer version is refused", async (t) => {
  const path = tempFile(t);
  const transport = await openTransport(t, { path });
  await transport.close();
  const db = new DatabaseSync(path);
  db.exec("pragma user_version = 99");
  db.close();
  assert.equal((await refusal(t, path)).code, "FILE_VERSION");
});

test("a file that may not be written is refused", { skip: process.getuid?.() === 0 ? "root may write everything" : false }, async (t) => {
  const path = tempFile(t);
  const transport = await openTransport(t, { path });
  await transport.close();
  chmodSync(path, 0o400);
  assert.equal((await refusal(t, path)).code, "CONFIG");
});

test("connect gives up when its signal fires", async (t) => {
  const path = tempFile(t);
  const transport = embedded({ path });
  t.after(() => transport.close());
  await assert.rejects(transport.connect({ signal: AbortSignal.abort(), onStatus: () => undefined }), (error) =>
    isWaybillError(error, "ABORTED"),
  );
});
