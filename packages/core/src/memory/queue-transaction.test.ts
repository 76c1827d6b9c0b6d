import assert from "node:assert/strict";
import { test } from "node:test";
import type { Transaction } from "../transport.ts";
import { createRig, errorOf, message, settled, signal, type Rig } from "./memory.fixture.ts";

async function begin(rig: Rig): Promise<Transaction> {
  const tx = await rig.transport.begin?.({ signal });
  assert.ok(tx !== undefined);
  return tx;
}

async function started() {
  const rig = await createRig();
  const input = await rig.subscribe({ leaseMs: 1_000 });
  const output = await rig.subscribe({ topic: "paid", group: "out" });
  await rig.publish(message("in"));
  const [delivery] = await input.until(1);
  assert.ok(delivery !== undefined);
  const work = async (tx: Transaction): Promise<void> => {
    assert.deepEqual(await rig.transport.publish([message("out", { topic: "paid" })], { signal, tx }), [{ ok: true }]);
    assert.deepEqual(await input.subscription.settle([{ kind: "ack", delivery }], { tx }), ["done"]);
  };
  const depth = async (): Promise<unknown> => (await rig.transport.inspect?.("orders", "billing"))?.depth;
  return { rig, input, output, delivery, work, depth };
}

void test("nothing shows before the commit, and then all of it", async () => {
  const { rig, output, work, depth } = await started();
  const tx = await begin(rig);
  await work(tx);
  await settled();
  assert.deepEqual([output.bodies(), await depth()], [[], 1]);
  await tx.commit();
  await output.until(1);
  assert.equal(await depth(), 0);
  await tx.rollback();
  await assert.rejects(tx.commit(), { code: "CLOSED" });
  await rig.transport.close();
});

void test("a rollback leaves the delivery in hand and publishes nothing", async () => {
  const { rig, input, output, delivery, work } = await started();
  const tx = await begin(rig);
  await work(tx);
  await tx.rollback();
  await assert.rejects(tx.commit(), { code: "CLOSED" });
  const [late] = await rig.transport.publish([message("late", { topic: "paid" })], { signal, tx });
  assert.equal(errorOf(late).certainty, "definite");
  await assert.rejects(input.subscription.settle([{ kind: "ack", delivery }], { tx }), { code: "CLOSED" });
  assert.deepEqual(await input.settle("ack", delivery), ["done"]);
  await settled();
  assert.deepEqual(output.bodies(), []);
  await rig.transport.close();
});

void test("a delivery that went to another member meanwhile rolls all of it back, definite", async () => {
  const { rig, output, work, input } = await started();
  const tx = await begin(rig);
  await work(tx);
  await rig.clock.advance(1_000);
  await input.until(2);
  await assert.rejects(tx.commit(), { code: "LEASE_LOST", certainty: "definite" });
  await settled();
  assert.deepEqual(output.bodies(), []);
  await rig.transport.close();
});

void test("a refused message rolls all of it back; a broken connection, too", async () => {
  const { rig, work, depth, input, delivery } = await started();
  const tx = await begin(rig);
  await work(tx);
  const [refused] = await rig.transport.publish([message(1, { topic: "nobody", mandatory: true })], { signal, tx });
  assert.equal(errorOf(refused).code, "UNROUTABLE");
  rig.broker.stop();
  rig.broker.start();
  await assert.rejects(tx.commit(), { code: "CONNECTION", certainty: "definite" });
  assert.equal(await depth(), 1);
  assert.deepEqual(await input.settle("ack", delivery), ["lost"]);
  await rig.transport.close();
});

for (const when of ["before", "after"] as const) {
  void test(`a commit that fails ${when} it takes effect is indefinite`, async () => {
    const { rig, work, depth } = await started();
    const stop = rig.broker.failCommit(when);
    const tx = await begin(rig);
    await work(tx);
    await assert.rejects(tx.commit(), { code: "TX_UNKNOWN", certainty: "indefinite" });
    assert.equal(await depth(), when === "before" ? 1 : 0);
    stop();
    const next = await begin(rig);
    await next.commit();
    await rig.transport.close();
  });
}
