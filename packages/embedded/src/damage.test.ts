import assert from "node:assert/strict";
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { test, type TestContext } from "node:test";
import { isWaybillError } from "@waybill/core";
import { salvage } from "./salvage/salvage.ts";
import { message, openTransport, publishAll, take, tempFile, until } from "./test.fixture.ts";

/** Publishes bodies `body-0` … to one topic with a group, and closes; the log is copied back into the file. */
async function filled(t: TestContext, count: number, size = 0): Promise<string> {
  const path = tempFile(t);
  const transport = await openTransport(t, { path });
  await transport.declare?.({ topics: [], groups: [{ topic: "a", group: "g" }] });
  for (let n = 0; n < count; n += 100) {
    const part = Array.from({ length: Math.min(100, count - n) }, (_, i) =>
      message("a", `body-${n + i};`.padEnd(size, "."), { key: `k${i}` }),
    );
    await publishAll(transport, part);
  }
  await transport.close();
  return path;
}

function change(path: string, at: number, bytes: Uint8Array): void {
  const file = openSync(path, "r+");
  try {
    writeSync(file, bytes, 0, bytes.length, at);
  } finally {
    closeSync(file);
  }
}

/** Everywhere: a page may still have a stale copy of what was moved to another one. */
function changeText(path: string, text: string, to: string): void {
  const bytes = readFileSync(path);
  for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) change(path, at, Buffer.from(to));
}

/** Destroys the page of the messages table that holds the marker, or the root of the table. */
function breakPage(path: string, marker: string): void {
  const bytes = readFileSync(path);
  const pageBytes = bytes.readUInt16BE(16);
  let page: number;
  if (marker === "root") {
    const db = new DatabaseSync(path, { readOnly: true });
    page = Number(db.prepare("select rootpage from sqlite_master where name = 'waybill_messages'").get()?.["rootpage"]) - 1;
    db.close();
  } else page = Math.floor(bytes.indexOf(marker) / pageBytes);
  change(path, page * pageBytes, Buffer.alloc(marker === "root" ? 200 : pageBytes, 0xa5));
}

const numbers = (bodies: readonly string[]): number[] =>
  bodies.map((body) => Number(body.slice(5, body.indexOf(";")))).sort((a, b) => a - b);

test("a changed row is never served: it is told as a gap, kept aside, and the others go on", async (t) => {
  const path = await filled(t, 300);
  changeText(path, "body-123;", "bodY");
  const transport = await openTransport(t, { path });
  const taken = await take(transport, { topic: "a", group: "g" }, { ack: true });
  const reader = await take(transport, { topic: "a", from: "earliest" });
  await until("all others", () => taken.got.length === 299 && reader.got.length === 299);
  assert(!numbers(taken.bodies()).includes(123));
  for (const { events } of [taken, reader]) {
    const [gap] = events;
    assert(gap?.kind === "gap" && gap.count === 1);
    assert.match(gap.reason, /124/);
  }
  assert.deepEqual((await transport.client.diagnose()).quarantined, [{ position: 124, topic: "a", reason: "checksum" }]);
  assert.equal((await transport.inspect!("a", "g")).depth, 0);
  assert.equal(
    (await transport.browse!({ topic: "a", group: "other", after: undefined, limit: 9, signal: AbortSignal.timeout(5000) })).length,
    0,
  );
});

test("rows of a broken page are told as a gap, or the subscription fails with CORRUPT; none is served wrong", async (t) => {
  const path = await filled(t, 2000, 100);
  breakPage(path, "body-1234;");
  const transport = await openTransport(t, { path });
  const taken = await take(transport, { topic: "a", group: "g" }, { ack: true });
  await until("all that can be read", () => {
    const missed = taken.events.reduce((sum, event) => sum + (event.kind === "gap" ? (event.count ?? 0) : 0), 0);
    return taken.got.length + missed === 2000 || taken.events.some((event) => event.kind === "failed");
  });
  const failed = taken.events.find((event) => event.kind === "failed");
  if (failed?.kind === "failed") {
    assert(isWaybillError(failed.error, "CORRUPT"));
    assert.match(failed.error.remedy, /salvage/);
  }
  for (const body of taken.bodies()) assert.match(body, /^body-\d+;\.*$/);
  assert(!numbers(taken.bodies()).includes(1234));
});

test("salvage copies every sound row and lists the lost positions", async (t) => {
  for (const [marker, rows] of [
    ["changed", 1],
    ["body-1234;", undefined],
    ["root", 0],
  ] as const) {
    const path = await filled(t, 2000, 100);
    if (marker === "changed") changeText(path, "body-77;", "bodY");
    else breakPage(path, marker);
    const before = readFileSync(path);
    const report = await salvage({ from: path, to: `${path}.sound` });
    assert.deepEqual(readFileSync(path), before, "the damaged file is left as it is");
    assert.equal(report.copied + report.lost.length, 2000, marker);
    if (rows !== undefined) assert.equal(report.lost.length, rows, marker);
    else assert(report.lost.length > 10 && report.lost.length < 400);
    assert(report.lost.every(({ topic }) => topic === "a"));
    const transport = await openTransport(t, { path: `${path}.sound` });
    const taken = await take(transport, { topic: "a", group: "g" }, { ack: true });
    const reader = await take(transport, { topic: "a", from: "earliest" });
    await until(`all sound ones, ${marker}`, () => taken.got.length === report.copied && reader.got.length === report.copied);
    const lost = new Set(report.lost.map(({ position }) => position - 1));
    const sound = Array.from({ length: 2000 }, (_, n) => n).filter((n) => !lost.has(n));
    assert.deepEqual(numbers(taken.bodies()), sound);
    assert.deepEqual(numbers(reader.bodies()), sound);
    await publishAll(transport, [message("a", "body-5000;")]);
    await until("goes on", () => taken.got.length === report.copied + 1);
    assert.equal(taken.got.at(-1)?.position, 2001);
    await transport.close();
  }
});

test("salvage keeps places, delays, notes and the handlers' own tables", async (t) => {
  const path = tempFile(t);
  const transport = await openTransport(t, { path });
  const setup = transport.store.begin({ signal: AbortSignal.timeout(5000) });
  await setup.tx.run("create table stock (sku text primary key, left integer)");
  await setup.tx.run("create index by_left on stock (left)");
  await setup.tx.run("insert into stock values ('a', 9007199254740993), ('b', 2)");
  await setup.claim("g", "applied");
  await setup.enqueue([message("out", "waits")]);
  await setup.commit();
  const taken = await take(transport, { topic: "a", group: "g" });
  await publishAll(transport, [
    message("a", "acked"),
    message("a", "noted"),
    message("a", "inhand"),
    message("b", "unread", { priority: 3 }),
  ]);
  await until("three", () => taken.got.length === 3);
  await taken.subscription.settle([
    { kind: "ack", delivery: taken.got[0]! },
    { kind: "retry", delivery: taken.got[1]!, delayMs: 50, note: "again" },
  ]);
  await transport.close();
  const report = await salvage({ from: path, to: `${path}.sound` });
  assert.deepEqual({ ...report }, { copied: 4, lost: [], damagedTables: [] });
  const sound = await openTransport(t, { path: `${path}.sound` });
  const again = await take(sound, { topic: "a", group: "g" }, { ack: true });
  await until("both", () => again.got.length === 2);
  assert.deepEqual(again.bodies().toSorted(), ["inhand", "noted"]);
  assert.equal(again.got.find(({ note }) => note !== undefined)?.note, "again");
  assert.deepEqual(await sound.store.applied("g", ["applied"]), [true]);
  assert.equal((await sound.store.outbox.backlog()).rows, 1);
  assert.equal((await sound.client.query("select count(*) as n from stock where left = 9007199254740993"))[0]?.["n"], 1);
});

test("salvage refuses what it cannot or must not do", async (t) => {
  const path = await filled(t, 1);
  await assert.rejects(salvage({ from: `${path}.none`, to: `${path}.new` }), (error) => isWaybillError(error, "CONFIG"));
  await assert.rejects(salvage({ from: path, to: path }), (error) => isWaybillError(error, "CONFIG"));
  await assert.rejects(
    salvage({ form: path } as never),
    (error) => isWaybillError(error, "CONFIG") && /salvage\.from/.test(error.message) && /salvage\.to/.test(error.message),
  );
  const other = new DatabaseSync(`${path}.theirs`);
  other.exec("create table theirs (a)");
  other.close();
  await assert.rejects(salvage({ from: `${path}.theirs`, to: `${path}.new2` }), (error) => isWaybillError(error, "CONFIG"));
  change(path, 0, Buffer.alloc(100));
  await assert.rejects(salvage({ from: path, to: `${path}.new3` }), (error) => isWaybillError(error));
});
