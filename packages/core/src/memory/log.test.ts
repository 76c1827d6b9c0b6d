import assert from "node:assert/strict";
import { test } from "node:test";
import type { Position, StartPosition } from "../transport.ts";
import { createRig, errorOf, message, numbers, settled, type Rig } from "./memory.fixture.ts";
import type { MemoryLogOptions } from "./options.ts";

const createLog = (options: Omit<MemoryLogOptions, "shape"> = {}): Promise<Rig> => createRig({ shape: "log", ...options });

async function publishNumbers(rig: Rig, from: number, count: number, key?: string): Promise<void> {
  await rig.publish(...Array.from({ length: count }, (_, index) => message(from + index, { key, time: rig.clock.now() })));
}

void test("what is published is kept: a new group, and a reader, begin where they say", async () => {
  const rig = await createLog();
  await publishNumbers(rig, 0, 3, "k");
  await rig.clock.advance(1_000);
  const time = rig.clock.now();
  await publishNumbers(rig, 3, 3, "k");
  const all = await rig.subscribe({ group: "earliest", from: "earliest" });
  const position = (await all.until(6))[2]?.position as Position;
  const starts: readonly [StartPosition, readonly number[]][] = [
    ["earliest", [0, 1, 2, 3, 4, 5]],
    [{ position }, [2, 3, 4, 5]],
    [{ time }, [3, 4, 5]],
    ["latest", []],
  ];
  for (const [from, expected] of starts) {
    for (const group of [undefined, `from ${JSON.stringify(from)}`]) {
      const taker = await rig.subscribe({ group, from });
      await settled();
      assert.deepEqual(taker.bodies(), expected, `${group ?? "a reader"} from ${JSON.stringify(from)}`);
    }
  }
  await assert.rejects(rig.subscribe({ group: undefined, from: { position: "nowhere" } }), { code: "CONFIG" });
  await rig.transport.close();
});

void test("a position is in one partition; in the others nothing is missed that came after it", async () => {
  const rig = await createLog({ partitions: 2 });
  for (const [body, partition] of [
    [0, 0],
    [1, 1],
    [2, 0],
    [3, 1],
    [4, 0],
  ] as const)
    await rig.publish(message(body, { native: { partition } }));
  const all = await rig.subscribe({ group: undefined, from: "earliest" });
  const second = (await all.until(5)).find((delivery) => delivery.message.body === 2);
  assert.equal(second?.position, "0:1");
  const taker = await rig.subscribe({ group: undefined, from: { position: "0:1" } });
  assert.deepEqual(numbers((await taker.until(3)).map((delivery) => delivery.message.body)), [2, 3, 4]);
  await rig.transport.close();
});

void test("a key has one partition, and its order", async () => {
  const rig = await createLog();
  const taker = await rig.subscribe({ order: "key" });
  await rig.publish(...Array.from({ length: 40 }, (_, body) => message(body, { key: `k${body % 8}` })));
  await taker.until(40);
  for (let key = 0; key < 8; key += 1) {
    const its = taker.deliveries.filter((delivery) => delivery.message.key === `k${key}`);
    assert.equal(new Set(its.map(({ part }) => part)).size, 1);
    assert.deepEqual(
      its.map((delivery) => delivery.message.body),
      [0, 1, 2, 3, 4].map((round) => round * 8 + key),
    );
  }
  assert.ok(new Set(taker.deliveries.map(({ part }) => part)).size > 1);
  await rig.transport.close();
});

void test("a group commits up to the first unfinished offset, and goes on there", async () => {
  const rig = await createLog({ partitions: 1 });
  const dying = await rig.open();
  const first = await rig.subscribe({}, dying);
  await publishNumbers(rig, 0, 5);
  const got = await first.until(5);
  await first.settle("ack", ...[0, 1, 3].map((index) => got[index]!));
  assert.equal((await rig.transport.inspect?.("orders", "billing"))?.depth, 2);
  rig.broker.crash(dying);
  const next = await rig.subscribe();
  await next.until(3);
  assert.deepEqual(next.bodies(), [2, 3, 4], "3 was finished above the commit: a log cannot keep that");
  assert.ok(next.deliveries.every(({ attempt, leaseMs }) => attempt === undefined && leaseMs === undefined));
  await rig.transport.close();
});

void test("what a dead member was handed is marked, what came after it is not", async () => {
  const rig = await createLog({ partitions: 1 });
  const dying = await rig.open();
  const first = await rig.subscribe({ credit: { messages: 2, bytes: 1 } }, dying);
  await publishNumbers(rig, 0, 4);
  await first.until(2);
  rig.broker.crash(dying);
  const next = await rig.subscribe();
  await next.until(4);
  assert.deepEqual(
    next.deliveries.map(({ takenOver }) => takenOver),
    [true, true, false, false],
  );
  await next.settle("ack", next.deliveries[0]!);
  await next.subscription[Symbol.asyncDispose]();
  const last = await rig.subscribe();
  await last.until(3);
  assert.deepEqual(
    last.deliveries.map(({ takenOver }) => takenOver),
    [true, false, false],
  );
  await rig.transport.close();
});

void test("a clean leave marks nothing", async () => {
  const rig = await createLog({ partitions: 1 });
  const first = await rig.subscribe();
  await publishNumbers(rig, 0, 2);
  await first.until(2);
  await first.subscription[Symbol.asyncDispose]();
  const next = await rig.subscribe();
  await next.until(2);
  assert.deepEqual(
    next.deliveries.map(({ takenOver }) => takenOver),
    [false, false],
  );
  await rig.transport.close();
});

void test("a note is kept with the commit: it outlives its member for the first unfinished message alone", async () => {
  const rig = await createLog({ partitions: 1 });
  const dying = await rig.open();
  const first = await rig.subscribe({}, dying);
  await publishNumbers(rig, 0, 3);
  const [a, b] = await first.until(3);
  const extend = (delivery: typeof a, note: string) => ({ kind: "extend", delivery: delivery!, note }) as const;
  assert.deepEqual(await first.settleAll([extend(a, "alone"), extend(b, "not the first")]), ["done", "done"]);
  rig.broker.crash(dying);
  const next = await rig.subscribe();
  await next.until(3);
  assert.deepEqual(
    next.deliveries.map(({ note }) => note),
    ["alone", undefined, undefined],
  );
  await next.settle("ack", next.deliveries[0]!);
  await next.subscription[Symbol.asyncDispose]();
  const last = await rig.subscribe();
  assert.deepEqual(
    (await last.until(2)).map(({ note }) => note),
    [undefined, undefined],
  );
  await rig.transport.close();
});

void test("what a log cannot do is refused, and the delivery stays as it was", async () => {
  const rig = await createLog();
  const taker = await rig.subscribe();
  await publishNumbers(rig, 0, 1);
  const [delivery] = await taker.until(1);
  assert.ok(delivery !== undefined);
  await assert.rejects(taker.settleAll([{ kind: "retry", delivery, delayMs: 0, note: undefined }]), { code: "CAPABILITY" });
  await assert.rejects(taker.settleAll([{ kind: "dead-letter", delivery, topic: "dead", headers: {} }]), { code: "CAPABILITY" });
  assert.deepEqual(await taker.settle("ack", delivery, delivery), ["done", "lost"]);
  assert.equal(errorOf((await rig.publish(message(1, { priority: 1 })))[0]).code, "CAPABILITY");
  assert.equal(errorOf((await rig.publish(message(1, { native: { partition: 4 } })))[0]).code, "CONFIG");
  assert.equal(errorOf((await rig.publish(message(1, { native: { shard: 1 } })))[0]).code, "CONFIG");
  assert.equal(errorOf((await rig.publish(message(1, { topic: "nobody", mandatory: true })))[0]).code, "UNROUTABLE");
  await rig.transport.close();
});

void test("a released message comes again at once, to the same member", async () => {
  const rig = await createLog({ partitions: 1 });
  const taker = await rig.subscribe({ credit: { messages: 2, bytes: 1 } });
  await publishNumbers(rig, 0, 3);
  const [a, b] = await taker.until(2);
  await taker.settle("release", b!, a!);
  await taker.until(4);
  assert.deepEqual(taker.bodies(), [0, 1, 0, 1]);
  assert.deepEqual(await taker.settle("ack", a!), ["lost"]);
  assert.deepEqual(await taker.settle("ack", ...taker.deliveries.slice(2)), ["done", "done"]);
  await taker.until(5);
  await rig.transport.close();
});

void test("a message for one group lies in that group's own log, also while it is delayed", async () => {
  const rig = await createLog();
  const billing = await rig.subscribe();
  await rig.publish(message("now", { group: "search" }), message("later", { group: "search", deliverAt: rig.clock.now() + 1_000 }));
  const search = await rig.subscribe({ group: "search" });
  await search.until(1);
  await rig.clock.advance(999);
  assert.deepEqual(search.bodies(), ["now"]);
  await rig.clock.advance(1);
  await search.until(2);
  assert.deepEqual(
    search.deliveries.map(({ part }) => part),
    ["orders/search/retry", "orders/search/retry"],
  );
  assert.deepEqual([search.bodies(), billing.bodies()], [["now", "later"], []]);
  await rig.transport.close();
});

void test("expired messages are passed over and counted, what is too old is a gap", async () => {
  const rig = await createLog({ partitions: 1, retain: 3 });
  const taker = await rig.subscribe({ credit: { messages: 0, bytes: 1 } });
  await publishNumbers(rig, 0, 5);
  await rig.publish(message("brief", { expiresAt: rig.clock.now() + 10 }));
  await rig.clock.advance(10);
  taker.subscription.credit({ messages: 10, bytes: 1 });
  await taker.until(2);
  assert.deepEqual(taker.bodies(), [3, 4]);
  assert.deepEqual(
    taker.events.map((event) => (event.kind === "gap" ? [event.count, event.reason] : [])),
    [
      [3, "older than what is kept"],
      [1, "expired"],
    ],
  );
  await taker.settle("ack", ...taker.deliveries);
  assert.equal((await rig.transport.inspect?.("orders", "billing"))?.depth, 0);
  await rig.transport.close();
});

void test("seek: where the group goes on, when nobody is there", async () => {
  const rig = await createLog({ partitions: 1 });
  const taker = await rig.subscribe();
  await publishNumbers(rig, 0, 3);
  await taker.settle("ack", ...(await taker.until(3)));
  const seek = async (to: StartPosition): Promise<void> => rig.transport.seek?.("orders", "billing", to);
  await assert.rejects(seek("earliest"), { code: "BUSY" });
  await taker.subscription[Symbol.asyncDispose]();
  await assert.rejects(seek({ position: "9:9" }), { code: "CONFIG" });
  await seek({ position: taker.deliveries[1]!.position! });
  const again = await rig.subscribe();
  await again.until(2);
  assert.deepEqual(again.bodies(), [1, 2]);
  await again.subscription[Symbol.asyncDispose]();
  await seek("latest");
  const last = await rig.subscribe();
  await publishNumbers(rig, 3, 1);
  await last.until(1);
  assert.deepEqual(last.bodies(), [3]);
  await rig.transport.close();
});

void test("browse shows what the group has not finished, oldest first, of all partitions and its own log", async () => {
  const rig = await createLog({ partitions: 2 });
  const taker = await rig.subscribe();
  for (const [body, partition] of [
    [0, 0],
    [1, 1],
    [2, 0],
    [3, 1],
  ] as const)
    await rig.publish(message(body, { native: { partition } }));
  await rig.publish(message(4, { group: "billing" }));
  await taker.until(5);
  await taker.settle("ack", ...taker.deliveries.filter((delivery) => delivery.message.body === 2));
  const page = async (after: Position | undefined) =>
    (await rig.transport.browse?.({ topic: "orders", group: "billing", after, limit: 2, signal: new AbortController().signal })) ?? [];
  const first = await page(undefined);
  assert.deepEqual(
    [...first, ...(await page(first[1]?.position))].map((each) => each.message.body),
    [0, 1, 3, 4],
  );
  await rig.transport.close();
});

void test("a pattern has all topics that match, those to come included", async () => {
  const rig = await createLog({ partitions: 1 });
  await publishNumbers(rig, 0, 1);
  const taker = await rig.subscribe({ pattern: "*" });
  const reader = await rig.subscribe({ group: undefined, pattern: "new.>" });
  await rig.publish(message(1), message(2, { topic: "others" }), message(3, { topic: "new.one" }));
  await taker.until(2);
  await reader.until(1);
  assert.deepEqual([numbers(taker.bodies()), reader.bodies()], [[1, 2], [3]]);
  await rig.transport.close();
});

void test("a start that is none leaves nothing behind", async () => {
  const rig = await createLog({ partitions: 1 });
  await publishNumbers(rig, 0, 1);
  for (const fields of [{ topic: "orders" }, { pattern: ">" }]) {
    for (const group of ["wrong", undefined]) {
      await assert.rejects(rig.subscribe({ topic: undefined, ...fields, group, from: { position: "nowhere" } }), { code: "CONFIG" });
    }
  }
  await rig.publish(message(1, { topic: "others" }));
  assert.deepEqual(
    await rig.transport.check?.({
      topics: [],
      groups: [
        { topic: "orders", group: "wrong" },
        { topic: "others", group: "wrong" },
      ],
    }),
    ["group wrong of topic orders", "group wrong of topic others"],
  );
  await rig.transport.close();
});

void test("an inbox is an address of this instance alone", async () => {
  const rig = await createLog();
  const inbox = await rig.subscribe({ inbox: true });
  const other = await rig.subscribe({ inbox: true });
  await rig.publish(message("answer", { topic: inbox.subscription.address! }));
  await inbox.until(1);
  await settled();
  assert.deepEqual([inbox.bodies(), other.bodies()], [["answer"], []]);
  await rig.transport.close();
});
