import assert from "node:assert/strict";
import { test } from "node:test";
import type { Delivery } from "../transport.ts";
import { createRig, message, settled, type Rig, type Taker } from "./memory.fixture.ts";

const keyed = { order: "key" } as const;

/** Publishes one message for each letter and number: the letter is the key, the whole is the body. */
async function publishKeyed(rig: Rig, ...bodies: readonly string[]): Promise<void> {
  await rig.publish(...bodies.map((body) => message(body, { key: body.slice(0, 1) })));
}

function bodyOf(taker: Taker, body: string, which = 0): Delivery {
  const found = taker.deliveries.filter(({ message }) => message.body === body)[which];
  assert.ok(found !== undefined, `no delivery ${which} of ${body}`);
  return found;
}

void test("order by key: while one member holds a key, no other has any of it", async () => {
  const rig = await createRig();
  const one = await rig.subscribe({ ...keyed, credit: { messages: 1, bytes: 1 } });
  await publishKeyed(rig, "a1", "a2", "b1", "a3");
  await one.until(1);
  const two = await rig.subscribe(keyed);
  await two.until(1);
  await settled();
  assert.deepEqual([one.bodies(), two.bodies()], [["a1"], ["b1"]]);
  await one.settle("ack", bodyOf(one, "a1"));
  await settled();
  const rest = [...one.bodies(), ...two.bodies()].filter((body) => String(body).startsWith("a"));
  assert.deepEqual(rest, ["a1", "a2", "a3"].slice(0, rest.length));
  for (let round = 0; round < 3; round += 1) {
    for (const taker of [one, two]) await taker.settle("ack", ...taker.deliveries);
    await settled();
  }
  assert.equal((await rig.transport.inspect?.("orders", "billing"))?.depth, 0);
  await rig.transport.close();
});

void test("order by key: the same member has the later ones too", async () => {
  const rig = await createRig();
  const taker = await rig.subscribe(keyed);
  await publishKeyed(rig, "a1", "a2", "a3");
  await taker.until(3);
  assert.deepEqual(taker.bodies(), ["a1", "a2", "a3"]);
  await rig.transport.close();
});

void test("order by key: a retry holds its key up and nothing else, and a higher priority overtakes nobody of its key", async () => {
  const rig = await createRig();
  const taker = await rig.subscribe({ ...keyed, credit: { messages: 1, bytes: 1 } });
  await publishKeyed(rig, "a1", "a2");
  await rig.publish(message("a3", { key: "a", priority: 9 }), message("b1", { key: "b" }));
  await taker.until(1);
  await taker.settleAll([{ kind: "retry", delivery: bodyOf(taker, "a1"), delayMs: 1_000, note: undefined }]);
  await taker.until(2);
  await taker.settle("ack", bodyOf(taker, "b1"));
  await settled();
  assert.deepEqual(taker.bodies(), ["a1", "b1"]);
  await rig.clock.advance(1_000);
  for (const [count, body, which] of [
    [3, "a1", 1],
    [4, "a2", 0],
    [5, "a3", 0],
  ] as const) {
    await taker.until(count);
    await taker.settle("ack", bodyOf(taker, body, which));
  }
  assert.deepEqual(taker.bodies(), ["a1", "b1", "a1", "a2", "a3"]);
  await rig.transport.close();
});

void test("order by key: when the lease of one ends, its holder loses the later ones of the key with it", async () => {
  const rig = await createRig();
  const slow = await rig.subscribe({ ...keyed, leaseMs: 1_000 });
  await publishKeyed(rig, "a1", "a2", "b1");
  await slow.until(3);
  await rig.clock.advance(500);
  await slow.settleAll(["a2", "b1"].map((body) => ({ kind: "extend", delivery: bodyOf(slow, body), note: undefined }) as const));
  slow.subscription.credit({ messages: 0, bytes: 1 });
  await rig.clock.advance(500);
  const next = await rig.subscribe(keyed);
  await next.until(2);
  assert.deepEqual(next.bodies(), ["a1", "a2"]);
  assert.deepEqual(await slow.settle("ack", bodyOf(slow, "a1"), bodyOf(slow, "a2"), bodyOf(slow, "b1")), ["lost", "lost", "done"]);
  await rig.transport.close();
});

void test("order by key: what a dead member held goes over in its order", async () => {
  const rig = await createRig();
  const dying = await rig.open();
  const first = await rig.subscribe(keyed, dying);
  await publishKeyed(rig, "a1", "a2", "b1", "a3");
  await first.until(4);
  await first.settle("ack", bodyOf(first, "a1"));
  rig.broker.crash(dying);
  const next = await rig.subscribe(keyed);
  await next.until(3);
  assert.deepEqual(next.bodies(), ["a2", "b1", "a3"]);
  assert.deepEqual(
    next.deliveries.map(({ attempt }) => attempt),
    [2, 2, 2],
  );
  await rig.transport.close();
});

void test("members of one group cannot ask for different orders; when all are gone the next may choose", async () => {
  const rig = await createRig();
  const taker = await rig.subscribe({ credit: { messages: 1, bytes: 1 } });
  await publishKeyed(rig, "a1", "a2");
  const [first] = await taker.until(1);
  await assert.rejects(rig.subscribe(keyed), { code: "CONFIG" });
  await taker.settleAll([{ kind: "retry", delivery: first as Delivery, delayMs: 1_000, note: undefined }]);
  await taker.subscription[Symbol.asyncDispose]();
  const next = await rig.subscribe(keyed);
  await settled();
  assert.deepEqual(next.bodies(), [], "a1 waits for its retry, and its key with it");
  await rig.clock.advance(1_000);
  await next.until(2);
  assert.deepEqual(next.bodies(), ["a1", "a2"]);
  await rig.transport.close();
});
