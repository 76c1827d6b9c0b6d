import assert from "node:assert/strict";
import { test } from "node:test";
import { isWaybillError } from "../errors.ts";
import { createRig, errorOf, eventually, message, settled, signal } from "./memory.fixture.ts";

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
  assert.deepEqual([...first.bodies(), ...second.bodies()].toSorted((a, b) => Number(a) - Number(b)), [1, 2, 3, 4]);
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
  await rig.transport.close();
});

void test("what is not settled comes again when its lease ends, as one more attempt, and the old delivery is lost", async () => {
  const rig = await createRig();
  const slow = await rig.subscribe({ leaseMs: 1_000 });
  await rig.publish(message("a"), message("b"));
  await slow.until(2);
  const [a, b] = slow.deliveries;
  assert.ok(a !== undefined && b !== undefined);
  assert.deepEqual([a.attempt, a.leaseMs], [1, 1_000]);
  await rig.clock.advance(600);
  assert.deepEqual(await slow.settleAll([{ kind: "extend", delivery: b, note: "n" }]), ["done"]);
  await rig.clock.advance(600);
  await slow.until(3);
  const again = slow.deliveries[2];
  assert.deepEqual([again?.message.body, again?.attempt], ["a", 2]);
  assert.notEqual(again?.generation, a.generation);
  assert.deepEqual(await slow.settle("ack", a, b), ["lost", "done"]);
  await rig.clock.advance(1_000);
  await slow.until(4);
  assert.equal(slow.deliveries[3]?.attempt, 3);
  await rig.transport.close();
});

void test("a member that dies counts as an attempt; what it says later is not heard", async () => {
  const rig = await createRig();
  const dying = await rig.open();
  const taker = await rig.subscribe({}, dying);
  await rig.publish(message("a"));
  await taker.until(1);
  rig.broker.crash(dying);
  const next = await rig.subscribe();
  await next.until(1);
  assert.equal(next.deliveries[0]?.attempt, 2);
  const unheard = taker.settle("ack", ...taker.deliveries);
  await settled();
  assert.equal((await rig.transport.inspect?.("orders", "billing"))?.depth, 1);
  await dying.close();
  assert.deepEqual(await unheard, ["unknown"]);
  await rig.transport.close();
});

void test("an unknown topic is fine unless the message is mandatory", async () => {
  const rig = await createRig();
  const [kept, refused] = await rig.publish(message(1), message(2, { mandatory: true }));
  assert.equal(kept?.ok, true);
  assert.ok(isWaybillError(errorOf(refused), "UNROUTABLE"));
  assert.equal(errorOf(refused).certainty, "definite");
  await rig.transport.close();
});

void test("the first publish after connect and none after close", async () => {
  const rig = await createRig();
  const taker = await rig.subscribe();
  await rig.transport.close();
  await rig.transport.close();
  await eventually(() => taker.ended, "the end");
  assert.deepEqual(rig.statuses, ["connecting", "connected", "closed"]);
  const [outcome] = await rig.transport.publish([message(1)], { signal });
  assert.equal(errorOf(outcome).code, "CLOSED");
  await assert.rejects(rig.subscribe(), { code: "CLOSED" });
});
