import assert from "node:assert/strict";
import { test } from "node:test";
import type { Delivery, SubscriptionEvent } from "../transport.ts";
import { createRig, eventually, message, numbers, settled, type Rig, type Taker } from "./memory.fixture.ts";

const createLog = (): Promise<Rig> => createRig({ shape: "log", partitions: 4, revocation: "1s" });

async function publishSpread(rig: Rig, count: number): Promise<void> {
  await rig.publish(...Array.from({ length: count }, (_, body) => message(body, { native: { partition: body % 4 } })));
}

function kinds(taker: Taker): string[] {
  return taker.events.map(({ kind }) => kind);
}

void test("a member that comes gets its share when the others have answered, and what they finished is not repeated", async () => {
  const rig = await createLog();
  const answer = Promise.withResolvers<void>();
  const revoked: string[] = [];
  const old = await rig.subscribe({
    async onEvent(event) {
      if (event.kind !== "revoked") return;
      assert.ok(event.deadlineMs > performance.now());
      revoked.push(event.part);
      await answer.promise;
    },
  });
  await publishSpread(rig, 8);
  await old.until(8);
  const young = await rig.subscribe();
  await eventually(() => revoked.length === 2, "two of four partitions are asked back");
  const theirs = old.deliveries.filter(({ part }) => revoked.includes(part));
  assert.equal(theirs.length, 4);
  assert.deepEqual(await old.settle("ack", theirs[0]!), ["done"], "still ours until the answer");
  await publishSpread(rig, 4);
  await settled();
  assert.equal(young.deliveries.length, 0);
  assert.equal(old.deliveries.length, 10, "nothing more of what is asked back");
  answer.resolve();
  await young.until(5);
  const outcomes = await old.settle("ack", ...theirs.slice(1));
  assert.deepEqual(outcomes, ["lost", "lost", "lost"], "a late commit is refused");
  assert.ok(young.deliveries.every((delivery) => revoked.includes(delivery.part) && !delivery.takenOver));
  const first = theirs[0]!;
  assert.ok(!young.deliveries.some(({ part, position }) => part === first.part && position === first.position));
  assert.ok(
    young.deliveries.every(({ part, generation }) =>
      theirs.every((delivery) => delivery.part !== part || delivery.generation < generation),
    ),
  );
  await rig.transport.close();
});

void test("a member that does not answer in time loses the part, and it is marked as taken over", async () => {
  const rig = await createLog();
  const events: SubscriptionEvent[] = [];
  const stuck = await rig.subscribe({
    onEvent(event) {
      events.push(event);
      return event.kind === "revoked" ? new Promise<void>(() => undefined) : undefined;
    },
  });
  await publishSpread(rig, 4);
  await stuck.until(4);
  const young = await rig.subscribe();
  await rig.clock.advance(999);
  assert.deepEqual(
    events.map(({ kind }) => kind),
    ["revoked", "revoked"],
  );
  await rig.clock.advance(1);
  assert.deepEqual(
    events.map(({ kind }) => kind),
    ["revoked", "revoked", "lost", "lost"],
  );
  const lost = events.flatMap((event) => (event.kind === "lost" ? [event] : []));
  const theirs = stuck.deliveries.filter((delivery) =>
    lost.some(({ part, generation }) => part === delivery.part && delivery.generation <= generation),
  );
  assert.ok(theirs.length > 0);
  assert.ok((await stuck.settle("ack", ...theirs)).every((outcome) => outcome === "lost"));
  await young.until(theirs.length);
  assert.ok(young.deliveries.every(({ takenOver }) => takenOver));
  await rig.transport.close();
});

void test("members come and go: every part has one owner, and what was not finished goes over", async () => {
  const rig = await createLog();
  const takers = [await rig.subscribe(), await rig.subscribe(), await rig.subscribe()];
  await settled();
  await publishSpread(rig, 40);
  await eventually(() => takers.reduce((sum, { deliveries }) => sum + deliveries.length, 0) === 40, "all 40");
  for (const taker of takers) assert.ok(taker.deliveries.length > 0, "each has a part");
  const [leaver, ...rest] = takers as [Taker, ...Taker[]];
  await leaver.settle("ack", ...leaver.deliveries.slice(0, 3));
  await leaver.subscription[Symbol.asyncDispose]();
  const left = leaver.deliveries.length - 3;
  await eventually(
    () => rest.reduce((sum, { deliveries }) => sum + deliveries.length, 0) >= 40 - leaver.deliveries.length + left,
    "what it left",
  );
  const seen = new Set(rest.flatMap(({ deliveries }) => deliveries.map((delivery) => delivery.message.body)));
  for (const delivery of leaver.deliveries.slice(3)) assert.ok(seen.has(delivery.message.body));
  await rig.transport.close();
});

void test("more members than parts: some wait, and take over when one goes", async () => {
  const rig = await createLog();
  const takers = await Promise.all(Array.from({ length: 6 }, () => rig.subscribe()));
  await settled();
  await publishSpread(rig, 8);
  const having = (): Taker[] => takers.filter(({ deliveries }) => deliveries.length > 0);
  await eventually(() => having().length === 4, "four members with a partition each");
  await having()[0]?.subscription[Symbol.asyncDispose]();
  await eventually(() => having().length === 5, "one that waited has it now");
  await rig.transport.close();
});

void test("a broker that goes away ends every assignment; its members come back with new ones, and are not suspect", async () => {
  const rig = await createLog();
  const taker = await rig.subscribe();
  await publishSpread(rig, 4);
  const before = [...(await taker.until(4))];
  rig.broker.stop();
  assert.deepEqual(kinds(taker), ["lost", "lost", "lost", "lost", "lost"]);
  rig.broker.start();
  await taker.until(8);
  assert.deepEqual(await taker.settle("ack", ...before), ["lost", "lost", "lost", "lost"]);
  const again: readonly Delivery[] = taker.deliveries.slice(4);
  assert.ok(again.every(({ takenOver }) => !takenOver));
  assert.deepEqual(numbers(again.map((delivery) => delivery.message.body)), [0, 1, 2, 3]);
  assert.deepEqual(await taker.settle("ack", ...again), ["done", "done", "done", "done"]);
  await rig.transport.close();
});
