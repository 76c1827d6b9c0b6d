import assert from "node:assert/strict";
import { test } from "node:test";
import { createRig, errorOf, message, numbers, settled, type Rig } from "./memory.fixture.ts";
import type { MemoryPushOptions, Overflow } from "./options.ts";

const createPush = (options: Omit<MemoryPushOptions, "shape"> = {}): Promise<Rig> => createRig({ shape: "push", ...options });
const send = (rig: Rig, ...bodies: readonly unknown[]) => rig.publish(...bodies.map((body) => message(body)));

void test("who is there has it: each reader, and one member of each group; nobody else ever", async () => {
  const rig = await createPush();
  await send(rig, "before");
  const readers = [await rig.subscribe({ group: undefined }), await rig.subscribe({ group: undefined, pattern: "*" })];
  const members = [await rig.subscribe(), await rig.subscribe({ pattern: ">" })];
  await send(rig, 1, 2, 3, 4);
  for (const reader of readers)
    assert.deepEqual(
      (await reader.until(4)).map((delivery) => delivery.message.body),
      [1, 2, 3, 4],
    );
  await settled();
  assert.deepEqual(
    members.map(({ deliveries }) => deliveries.length),
    [2, 2],
  );
  assert.deepEqual(numbers(members.flatMap((member) => member.bodies())), [1, 2, 3, 4]);
  assert.equal(rig.broker.unheard, 1);
  await members[0]?.subscription[Symbol.asyncDispose]();
  await send(rig, 5);
  await members[1]?.until(3);
  await rig.transport.close();
});

void test("nothing is kept for a group: what comes while nobody is there is gone, and counted", async () => {
  const rig = await createPush();
  const first = await rig.subscribe();
  await first.subscription[Symbol.asyncDispose]();
  await send(rig, 1, 2);
  const next = await rig.subscribe();
  await send(rig, 3);
  await next.until(1);
  assert.deepEqual([next.bodies(), rig.broker.unheard], [[3], 2]);
  await rig.transport.close();
});

for (const [overflow, kept] of [
  ["drop-newest", [1, 2]],
  ["drop-oldest", [4, 5]],
] as const satisfies readonly (readonly [Overflow, readonly number[]])[]) {
  void test(`a full buffer: ${overflow}, and a gap tells how many`, async () => {
    for (const own of [true, false]) {
      const rig = await createPush(own ? {} : { buffer: 2, overflow });
      const slow = await rig.subscribe({
        group: undefined,
        credit: { messages: 0, bytes: 1 },
        native: own ? { buffer: 2, overflow } : undefined,
      });
      const fast = await rig.subscribe({ group: undefined });
      await send(rig, 1, 2, 3, 4, 5);
      if (own) await fast.until(5);
      slow.subscription.credit({ messages: 10, bytes: 1 });
      await slow.until(2);
      assert.deepEqual(slow.bodies(), kept);
      assert.deepEqual(slow.events, [{ kind: "gap", count: 3, reason: `the buffer is full: ${overflow}` }]);
      await rig.transport.close();
    }
  });
}

void test("a group gives a message to a member that has room", async () => {
  const rig = await createPush({ buffer: 1 });
  const full = await rig.subscribe({ credit: { messages: 0, bytes: 1 } });
  const free = await rig.subscribe();
  for (const body of [1, 2, 3, 4, 5]) await send(rig, body);
  await free.until(4);
  await settled();
  assert.deepEqual(full.events, []);
  await rig.transport.close();
});

void test("nothing is settled: an acknowledgement gives credit back and no more, a release comes again", async () => {
  const rig = await createPush();
  const taker = await rig.subscribe({ credit: { messages: 2, bytes: 100 } });
  await send(rig, 1, 2, 3);
  const [one, two] = await taker.until(2);
  assert.deepEqual(
    [one?.attempt, one?.leaseMs, one?.position, one?.note, one?.takenOver],
    [undefined, undefined, undefined, undefined, false],
  );
  await settled();
  assert.equal(taker.deliveries.length, 2);
  assert.deepEqual(await taker.settle("ack", one!, one!), ["done", "done"]);
  await taker.until(3);
  await taker.settle("release", two!);
  await taker.until(4);
  assert.deepEqual(taker.bodies(), [1, 2, 3, 2]);
  await assert.rejects(taker.settleAll([{ kind: "retry", delivery: two!, delayMs: 0, note: undefined }]), { code: "CAPABILITY" });
  await assert.rejects(taker.settleAll([{ kind: "extend", delivery: two!, note: "text" }]), { code: "CAPABILITY" });
  await rig.transport.close();
});

void test("what a push cannot do is refused", async () => {
  const rig = await createPush();
  const taker = await rig.subscribe();
  const later = rig.clock.now() + 1_000;
  const outcomes = await rig.publish(
    message(1, { group: "g" }),
    message(2, { deliverAt: later }),
    message(3, { priority: 1 }),
    message(4, { native: {} }),
    message(5),
  );
  assert.deepEqual(
    outcomes.slice(0, 4).map((outcome) => errorOf(outcome).code),
    ["CAPABILITY", "CAPABILITY", "CAPABILITY", "CONFIG"],
  );
  await taker.until(1);
  assert.deepEqual(taker.bodies(), [5]);
  await assert.rejects(rig.subscribe({ from: "earliest" }), { code: "CAPABILITY" });
  await assert.rejects(rig.subscribe({ order: "key" }), { code: "CAPABILITY" });
  await assert.rejects(rig.subscribe({ native: { size: 1 } }), { code: "CONFIG" });
  await rig.transport.close();
});

void test("an expired message is not delivered; for a group it is counted", async () => {
  const rig = await createPush();
  const taker = await rig.subscribe({ credit: { messages: 0, bytes: 1 } });
  await rig.publish(message(1, { expiresAt: rig.clock.now() + 10 }), message(2));
  await rig.clock.advance(10);
  taker.subscription.credit({ messages: 10, bytes: 1 });
  await taker.until(1);
  assert.deepEqual([taker.bodies(), taker.events], [[2], [{ kind: "gap", count: 1, reason: "expired" }]]);
  await rig.transport.close();
});

void test("requests and replies: an inbox, and the word that nobody is there", async () => {
  const rig = await createPush();
  const inbox = await rig.subscribe({ inbox: true });
  const { address } = inbox.subscription;
  assert.ok(address !== undefined);
  const [request, mandatory, reply] = await rig.publish(
    message(1, { replyTo: address }),
    message(2, { mandatory: true }),
    message("answer", { topic: address }),
  );
  assert.deepEqual([errorOf(request).code, errorOf(mandatory).code, reply?.ok], ["NO_RESPONDERS", "UNROUTABLE", true]);
  await inbox.until(1);
  await inbox.subscription[Symbol.asyncDispose]();
  assert.equal(errorOf((await rig.publish(message("late", { topic: address })))[0]).code, "NO_RESPONDERS");
  await rig.transport.close();
});

void test("who crashed, or lost its connection, is not there; who comes back is", async () => {
  const rig = await createPush();
  const other = await rig.open();
  const dying = await rig.subscribe({ group: undefined }, other);
  const taker = await rig.subscribe({ group: undefined });
  rig.broker.crash(other);
  await send(rig, 1);
  await taker.until(1);
  rig.broker.stop();
  rig.broker.start();
  await send(rig, 2);
  await taker.until(2);
  assert.deepEqual(dying.bodies(), []);
  await other.close();
  await rig.transport.close();
});
