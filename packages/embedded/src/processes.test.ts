import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import type { ChildTold } from "./child.fixture.ts";
import { message, openTransport, publishAll, startChild, take, tempFile, until } from "./test.fixture.ts";

type Got = Extract<ChildTold, { readonly kind: "got" }>;

test("what a killed process had in hand goes to the next long before its lease ends, counted as an attempt", async (t) => {
  const path = tempFile(t);
  const transport = await openTransport(t, { path });
  await transport.declare?.({ topics: [], groups: [{ topic: "a", group: "g" }] });
  await publishAll(
    transport,
    Array.from({ length: 50 }, (_, n) => message("a", String(n))),
  );
  const child = await startChild(t, path, {
    do: "consume",
    topic: "a",
    group: "g",
    order: "none",
    credit: 50,
    leaseMs: 600_000,
    holdMs: undefined,
  });
  await until("the child has all", () => child.told.filter((one) => one.kind === "got").length === 50);
  await child.kill();
  const start = performance.now();
  const taken = await take(transport, { topic: "a", group: "g" }, { ack: true });
  await until("all come again", () => taken.got.length === 50, 10_000);
  assert(performance.now() - start < 10_000);
  assert(taken.got.every(({ attempt }) => attempt === 2));
  await taken[Symbol.asyncDispose]();
  assert.equal((await transport.inspect!("a", "g")).depth, 0);
});

test("a process id that was given to another process does not keep the leases of the dead one", async (t) => {
  const path = tempFile(t);
  const transport = await openTransport(t, { path });
  await transport.declare?.({ topics: [], groups: [{ topic: "a", group: "g" }] });
  await publishAll(transport, [message("a", "one")]);
  // A member with our own process id, which is alive, but with another start: as after the id was given again.
  const db = new DatabaseSync(path, { timeout: 5000 });
  db.exec(`insert into waybill_members (id, pid, started, boot, space, seen) select 900, pid, '1', boot, space, seen from waybill_members limit 1;
    update waybill_cursors set next = 1;
    insert into waybill_leases values (900, 1, 1, 0, 1, 1, x'00', 900, 1, 9e15);`);
  db.close();
  const taken = await take(transport, { topic: "a", group: "g" }, { ack: true });
  await until("it comes again", () => taken.got.length === 1);
  assert.equal(taken.got[0]?.attempt, 2);
  await taken[Symbol.asyncDispose]();
});

test("with order by key three processes never handle a key's messages out of order or together, one being killed", async (t) => {
  const path = tempFile(t);
  const transport = await openTransport(t, { path });
  await transport.declare?.({ topics: [], groups: [{ topic: "a", group: "g" }] });
  const keys = 5;
  const count = 300;
  await publishAll(
    transport,
    Array.from({ length: count }, (_, n) => message("a", String(n), { key: `k${n % keys}` })),
  );
  const children = await Promise.all(
    [0, 1, 2].map(() => startChild(t, path, { do: "consume", topic: "a", group: "g", order: "key", credit: 10, leaseMs: 5000, holdMs: 1 })),
  );
  const all = () => children.flatMap((child) => child.told);
  const acked = () => new Set(all().flatMap((one) => (one.kind === "acked" && one.outcome === "done" ? [one.body] : [])));
  await until("a third is handled", () => acked().size > count / 3);
  const busiest = children.toSorted((a, b) => b.told.length - a.told.length)[0]!;
  await busiest.kill();
  // Not by what they told: the killed one may have acknowledged what it could tell nobody any more.
  await until("all are handled", async () => (await transport.inspect!("a", "g")).depth === 0, 30_000);
  await until("all is told", () => acked().size > count - 10);
  const handled = all()
    .filter((one): one is Got => one.kind === "got")
    .toSorted((a, b) => a.at - b.at);
  const done = new Map(all().flatMap((one) => (one.kind === "acked" ? [[one.body, one.at] as const] : [])));
  const pids = new Set<number>();
  const last = new Map<string, Got>();
  for (const one of handled) {
    pids.add(one.pid);
    const before = last.get(one.key!);
    if (before !== undefined && Number(one.body) !== Number(before.body)) {
      assert(Number(one.body) > Number(before.body), `${one.body} came after ${before.body}`);
      const end = done.get(before.body);
      assert(end === undefined || end <= one.at, `${one.body} began while ${before.body} was being handled`);
    }
    last.set(one.key!, one);
  }
  assert(pids.size >= 2, "another process took over");
});

test("a message of one process is noticed by another one soon", async (t) => {
  const path = tempFile(t);
  const transport = await openTransport(t, { path });
  const taken = await take(transport, { topic: "a", group: "g" }, { ack: true });
  const other = await openTransport(t, { path });
  const waits: number[] = [];
  for (let n = 0; n < 20; n++) {
    const start = performance.now();
    await publishAll(other, [message("a", String(n))]);
    await until("it arrives", () => taken.got.length > n);
    waits.push(performance.now() - start);
  }
  await taken[Symbol.asyncDispose]();
  assert(waits.toSorted((a, b) => a - b)[10]! < 250, `median ${waits[10]} ms`);
});

test("four processes that publish flat out all get their turn", async (t) => {
  const path = tempFile(t);
  const children = await Promise.all([0, 1, 2, 3].map(() => startChild(t, path, { do: "flood", topic: "a", batch: 50, waits: true })));
  const transport = await openTransport(t, { path });
  await transport.declare?.({ topics: ["a"], groups: [] });
  // Together: who starts first would have a lead that says nothing about turns.
  for (const child of children) child.tell({ do: "go" });
  await until("some thousands", async () => {
    const rows = await transport.client.query("select next from waybill_streams where id = 0");
    return Number(rows[0]?.["next"]) > 20_000;
  });
  for (const child of children) child.tell({ do: "stop" });
  await until("their counts", () => children.every((child) => child.told.some((one) => one.kind === "published")));
  const counts = children.map((child) => child.told.reduce((sum, one) => sum + (one.kind === "published" ? one.count : 0), 0));
  const total = counts.reduce((sum, count) => sum + count, 0);
  for (const count of counts) assert(count >= total / 8, counts.join(", "));
});
