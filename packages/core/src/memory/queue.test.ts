import assert from "node:assert/strict";
import { test } from "node:test";
import { deadLetterGroup, type Delivery, type Message } from "../transport.ts";
import { createRig, errorOf, message, numbers, settled } from "./memory.fixture.ts";

void test("each group has every message, its members share them", async () => {
  const rig = await createRig();
  const first = await rig.subscribe();
  const second = await rig.subscribe();
  const other = await rig.subscribe({ group: "search" });
  const outcomes = await rig.publish(...[1, 2, 3, 4].map((body) => message(body)));
  assert.deepEqual(outcomes, [{ ok: true }, { ok: true }, { ok: true }, { ok: true }]);
  await other.until(4);
  await first.until(2);
  await second.until(2);
  assert.deepEqual(numbers([...first.bodies(), ...second.bodies()]), [1, 2, 3, 4]);
  assert.deepEqual(other.bodies(), [1, 2, 3, 4]);
  await rig.transport.close();
});

void test("a new group begins at what is published from now on, and keeps its place", async () => {
  const rig = await createRig();
  await rig.publish(message("before"));
  const taker = await rig.subscribe();
  await rig.publish(message("one"));
  await taker.until(1);
  await taker.settle("ack", ...taker.deliveries);
  await taker.subscription[Symbol.asyncDispose]();
  await rig.publish(message("two"));
  const again = await rig.subscribe();
  await again.until(1);
  assert.deepEqual([taker.bodies(), again.bodies()], [["one"], ["two"]]);
  await assert.rejects(rig.subscribe({ from: "earliest" }), { code: "CAPABILITY" });
  await rig.transport.close();
});

void test("what is not settled comes again when its lease ends, as one more attempt, and the old delivery is lost", async () => {
  const rig = await createRig();
  const slow = await rig.subscribe({ leaseMs: 1_000 });
  await rig.publish(message("a"), message("b"));
  const [a, b] = await slow.until(2);
  assert.ok(a !== undefined && b !== undefined);
  assert.deepEqual([a.attempt, a.leaseMs, a.note], [1, 1_000, undefined]);
  await rig.clock.advance(600);
  assert.deepEqual(await slow.settleAll([{ kind: "extend", delivery: b, note: "in hand" }]), ["done"]);
  await rig.clock.advance(600);
  const again = (await slow.until(3))[2];
  assert.deepEqual([again?.message.body, again?.attempt], ["a", 2]);
  assert.notEqual(again?.generation, a.generation);
  assert.deepEqual(await slow.settle("ack", a), ["lost"]);
  // The extended lease ends at 1,600 ms; the note comes with the next delivery.
  await rig.clock.advance(500);
  const late = (await slow.until(4))[3];
  assert.deepEqual([late?.message.body, late?.attempt, late?.note], ["b", 2, "in hand"]);
  assert.deepEqual(await slow.settle("ack", b, late as Delivery, again as Delivery), ["lost", "done", "done"]);
  await rig.transport.close();
});

void test("retry: later, with its note, as one more attempt, and holds up no other; release: at once, as none", async () => {
  const rig = await createRig();
  const taker = await rig.subscribe();
  await rig.publish(message("a"), message("b"));
  const [a, b] = await taker.until(2);
  assert.ok(a !== undefined && b !== undefined);
  assert.deepEqual(
    await taker.settleAll([
      { kind: "retry", delivery: a, delayMs: 500, note: "tried" },
      { kind: "release", delivery: b },
    ]),
    ["done", "done"],
  );
  const released = (await taker.until(3))[2];
  assert.deepEqual([released?.message.body, released?.attempt], ["b", 1]);
  await rig.clock.advance(499);
  assert.equal(taker.deliveries.length, 3);
  await rig.clock.advance(1);
  const retried = (await taker.until(4))[3];
  assert.deepEqual([retried?.message.body, retried?.attempt, retried?.note], ["a", 2, "tried"]);
  await rig.transport.close();
});

void test("a dead letter moves in one step, with headers added, and is kept for the group of dead letters", async () => {
  const rig = await createRig();
  const taker = await rig.subscribe();
  await rig.publish(message("bad", { id: "one", headers: { a: "1" }, expiresAt: rig.clock.now() + 1_000 }));
  const [delivery] = await taker.until(1);
  assert.ok(delivery !== undefined);
  await taker.settleAll([{ kind: "dead-letter", delivery, topic: "orders.dead", headers: { cause: "broken" } }]);
  await rig.clock.advance(5_000);
  const letters = await rig.subscribe({ topic: "orders.dead", group: deadLetterGroup });
  const [letter] = await letters.until(1);
  assert.deepEqual([letter?.message.id, letter?.message.topic, letter?.attempt], ["one", "orders.dead", 1]);
  assert.deepEqual({ ...letter?.message.headers }, { a: "1", cause: "broken" });
  assert.equal((await rig.transport.inspect?.("orders", "billing"))?.depth, 0);
  await rig.transport.close();
});

void test("a delay, an expiry and the higher priority first, whatever the wall clock does", async () => {
  const rig = await createRig();
  const taker = await rig.subscribe({ credit: { messages: 0, bytes: 1 } });
  const now = rig.clock.now();
  await rig.publish(
    message("low", { priority: 1 }),
    message("none"),
    message("high", { priority: 9 }),
    message("brief", { expiresAt: now + 1_000 }),
    message("later", { deliverAt: now + 2_000 }),
  );
  rig.clock.setNow(now + 3_600_000);
  await rig.clock.advance(1_500);
  taker.subscription.credit({ messages: 10, bytes: 1_000 });
  await taker.until(3);
  await rig.clock.advance(499);
  assert.deepEqual(taker.bodies(), ["high", "low", "none"]);
  assert.deepEqual(taker.events, [{ kind: "gap", count: 1, reason: "expired" }]);
  await rig.clock.advance(1);
  await taker.until(4);
  assert.equal(taker.bodies()[3], "later");
  await rig.transport.close();
});

void test("an id that is published again within the window is stored once; a copy for one group is no repeat", async () => {
  const rig = await createRig({ deduplicationWindow: "1m" });
  const taker = await rig.subscribe();
  const once = message("x", { id: "same" });
  assert.deepEqual(await rig.publish(once, once), [{ ok: true }, { ok: true }]);
  await rig.publish({ ...once, group: "billing" });
  await taker.settle("ack", ...(await taker.until(2)));
  await rig.clock.advance(120_000);
  await rig.publish(once);
  await taker.until(3);
  await settled();
  assert.equal(taker.deliveries.length, 3);
  await rig.transport.close();
});

void test("a message for one group goes to it alone, and makes it", async () => {
  const rig = await createRig();
  const billing = await rig.subscribe();
  await rig.publish(message("copy", { group: "search" }), message("all"));
  const search = await rig.subscribe({ group: "search" });
  await search.until(2);
  await billing.until(1);
  await settled();
  assert.deepEqual([billing.bodies(), search.bodies()], [["all"], ["copy", "all"]]);
  await rig.transport.close();
});

void test("a pattern has all topics that match, those to come included, and its group one place in each", async () => {
  const rig = await createRig();
  await rig.subscribe({ topic: "shop.old.placed", group: "other" });
  const taker = await rig.subscribe({ pattern: "shop.*.placed" });
  await rig.publish(
    message(1, { topic: "shop.old.placed" }),
    message(2, { topic: "shop.new.placed" }),
    message(3, { topic: "shop.new.paid" }),
  );
  const got = await taker.until(2);
  assert.deepEqual(got.map(({ message }) => message.topic).toSorted(), ["shop.new.placed", "shop.old.placed"]);
  await taker.settle("ack", ...got);
  await taker.subscription[Symbol.asyncDispose]();
  // Nobody is there, and the group keeps it, also for who comes by the name.
  await rig.publish(message(4, { topic: "shop.newest.placed" }));
  const named = await rig.subscribe({ topic: "shop.newest.placed" });
  assert.deepEqual(
    (await named.until(1)).map(({ message }) => message.body),
    [4],
  );
  await rig.transport.close();
});

void test("a reader sees all from now on, and takes nothing", async () => {
  const rig = await createRig();
  const taker = await rig.subscribe();
  const reader = await rig.subscribe({ group: undefined });
  const wide = await rig.subscribe({ group: undefined, pattern: ">" });
  await rig.publish(message("a"), message("b", { topic: "others" }));
  await taker.until(1);
  await wide.until(2);
  assert.deepEqual([(await reader.until(1))[0]?.attempt, reader.deliveries[0]?.leaseMs, wide.bodies()], [undefined, undefined, ["a", "b"]]);
  assert.equal((await rig.transport.inspect?.("orders", "billing"))?.inFlight, 1);
  await rig.transport.close();
});

void test("who asked to be told is told that nobody is there", async () => {
  const rig = await createRig();
  const inbox = await rig.subscribe({ inbox: true });
  const { address } = inbox.subscription;
  assert.ok(address !== undefined);
  const [fine, mandatory, request, reply] = await rig.publish(
    message(1),
    message(2, { mandatory: true }),
    message(3, { replyTo: address }),
    message(4, { topic: address, correlationId: "3" }),
  );
  assert.deepEqual([fine?.ok, errorOf(mandatory).code, errorOf(request).code, reply?.ok], [true, "UNROUTABLE", "NO_RESPONDERS", true]);
  assert.equal(errorOf(mandatory).certainty, "definite");
  assert.equal((await inbox.until(1))[0]?.message.correlationId, "3");
  assert.equal(rig.broker.unheard, 1);
  await inbox.subscription[Symbol.asyncDispose]();
  assert.equal(errorOf((await rig.publish(message(5, { topic: address })))[0]).code, "NO_RESPONDERS");
  await rig.transport.close();
});

void test("credit in messages and in bytes bounds what is in hand; one message above it goes alone", async () => {
  const rig = await createRig({ encode: true });
  const taker = await rig.subscribe({ credit: { messages: 3, bytes: 100 } });
  await rig.publish(...[40, 40, 40, 500, 1].map((size) => message(new Uint8Array(size))));
  await settled();
  assert.deepEqual(sizes(taker.deliveries), [40, 40]);
  await taker.settle("ack", ...taker.deliveries.slice(0, 2));
  await settled();
  assert.deepEqual(sizes(taker.deliveries), [40, 40, 40]);
  await taker.settle("ack", ...taker.deliveries.slice(2));
  await settled();
  assert.deepEqual(sizes(taker.deliveries), [40, 40, 40, 500]);
  taker.subscription.credit({ messages: 0, bytes: 1_000 });
  await taker.settle("ack", ...taker.deliveries.slice(3));
  await settled();
  assert.equal(taker.deliveries.length, 4);
  taker.subscription.credit({ messages: 1, bytes: 1_000 });
  await taker.until(5);
  await rig.transport.close();
});

void test("a full queue refuses, definite, until there is room; what has expired makes some", async () => {
  const rig = await createRig({ maxDepth: 2 });
  const taker = await rig.subscribe({ credit: { messages: 0, bytes: 1 } });
  const [, , third] = await rig.publish(message(1), message(2, { expiresAt: rig.clock.now() + 100 }), message(3));
  assert.deepEqual([errorOf(third).code, errorOf(third).retryable, errorOf(third).certainty], ["BUFFER_FULL", true, "definite"]);
  await rig.clock.advance(100);
  assert.equal((await rig.publish(message(4)))[0]?.ok, true);
  taker.subscription.credit({ messages: 10, bytes: 1 });
  await taker.until(2);
  assert.deepEqual(taker.bodies(), [1, 4]);
  await rig.transport.close();
});

void test("browse shows what is not settled, page by page; remove settles it, in whose hands it ever is", async () => {
  const rig = await createRig();
  const taker = await rig.subscribe({ credit: { messages: 2, bytes: 1 } });
  await rig.publish(...[1, 2, 3, 4].map((body) => message(body)));
  const [held] = await taker.until(2);
  const page = async (after: string | number | undefined): Promise<readonly [unknown, string | number][]> =>
    (
      (await rig.transport.browse?.({ topic: "orders", group: "billing", after, limit: 3, signal: new AbortController().signal })) ?? []
    ).map(({ message, position }) => [message.body, position] as const);
  const first = await page(undefined);
  assert.deepEqual(
    first.map(([body]) => body),
    [1, 2, 3],
  );
  assert.deepEqual(
    (await page(first[2]?.[1])).map(([body]) => body),
    [4],
  );
  const positions = [first[0]?.[1] ?? "", first[2]?.[1] ?? ""];
  assert.equal(await rig.transport.remove?.("orders", "billing", positions), 2);
  assert.equal(await rig.transport.remove?.("orders", "billing", positions), 0);
  assert.deepEqual(await taker.settle("ack", held as Delivery), ["lost"]);
  assert.deepEqual((await taker.until(3))[2]?.message.body, 4);
  await rig.transport.close();
});

void test("inspect tells what is kept, what is in hand, and who is there", async () => {
  const rig = await createRig();
  const taker = await rig.subscribe({ credit: { messages: 2, bytes: 1 } });
  await rig.publish(...[1, 2, 3].map((body) => message(body, { time: rig.clock.now() })));
  await taker.until(2);
  await rig.clock.advance(250);
  assert.deepEqual(await rig.transport.inspect?.("orders", "billing"), {
    depth: 3,
    inFlight: 2,
    lagMessages: 1,
    oldestAgeMs: 250,
    consumers: [{ id: "memory-1/1", inFlight: 2 }],
  });
  assert.equal((await rig.transport.inspect?.("orders", "nobody"))?.depth, 0);
  await rig.transport.close();
});

void test("topology: what is missing is told, and made when it is declared", async () => {
  const rig = await createRig();
  const topology = { topics: ["a", "b"], groups: [{ topic: "b", group: "g" }] };
  assert.deepEqual(await rig.transport.check?.(topology), ["topic a", "topic b", "group g of topic b"]);
  assert.equal((await rig.transport.declare?.(topology))?.length, 3);
  assert.deepEqual([await rig.transport.check?.(topology), await rig.transport.declare?.(topology)], [[], []]);
  const reader = await rig.subscribe({ topic: "a", group: undefined });
  await reader.subscription[Symbol.asyncDispose]();
  assert.deepEqual(await rig.transport.check?.(topology), []);
  await rig.transport.close();
});

void test("a tombstone and a body by reference arrive as they are; freeze makes the reference safe", async () => {
  const rig = await createRig({ freeze: true });
  const taker = await rig.subscribe();
  const body = { lines: [{ sku: "A-1" }], at: new Date(0) };
  await rig.publish(message(body), message(null));
  await taker.until(2);
  assert.equal(taker.bodies()[0], body);
  assert.equal(taker.bodies()[1], null);
  assert.ok(Object.isFrozen(body) && Object.isFrozen(body.lines[0]) && !Object.isFrozen(body.at));
  await rig.transport.close();
});

void test("what cannot be carried is refused, definite, and its neighbours go through", async () => {
  const rig = await createRig({ encode: true, maxBodyBytes: 10 });
  const wrong: readonly [Partial<Message>, string][] = [
    [{ body: new Uint8Array(11) }, "TOO_LARGE"],
    [{ body: "text" }, "CONFIG"],
    [{ priority: 10 }, "CONFIG"],
    [{ native: { partition: 1 } }, "CONFIG"],
  ];
  const outcomes = await rig.publish(...wrong.map(([fields]) => message(new Uint8Array(1), fields)), message(new Uint8Array(10)));
  assert.deepEqual(
    outcomes.slice(0, -1).map((outcome) => errorOf(outcome).code),
    wrong.map(([, code]) => code),
  );
  assert.ok(outcomes.slice(0, -1).every((outcome) => errorOf(outcome).certainty === "definite"));
  assert.equal(outcomes.at(-1)?.ok, true);
  await rig.transport.close();
});

function sizes(deliveries: readonly Delivery[]): number[] {
  return deliveries.map(({ message }) => (message.body as Uint8Array).length);
}
