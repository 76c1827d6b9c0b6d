import assert from "node:assert/strict";
import { test } from "node:test";
import { requestFor } from "../transport.fixture.ts";
import type { Delivery, Transport } from "../transport.ts";
import { memoryBroker } from "./broker.ts";
import { createRig, errorOf, eventually, message, settled, signal } from "./memory.fixture.ts";
import { memory } from "./memory.ts";

void test("memory() has a broker of its own; with a broker it is one of several on it", async () => {
  const broker = memoryBroker();
  const [alone, first, second] = [memory(), memory({ broker }), memory({ broker })];
  await Promise.all([alone, first, second].map((transport) => transport.connect({ signal, onStatus: () => undefined })));
  await first.declare?.({ topics: ["orders"], groups: [] });
  assert.deepEqual(await second.check?.({ topics: ["orders"], groups: [] }), []);
  assert.equal((await alone.check?.({ topics: ["orders"], groups: [] }))?.length, 1);
  assert.deepEqual([first.client, alone.name, memory({ shape: "log" }).name], [broker, "memory", "memory-log"]);
  await Promise.all([alone, first, second].map((transport) => transport.close()));
});

void test("wrong options are all named", () => {
  assert.throws(
    () => memory({ shape: "log", partitions: 0, maxDepth: 1 } as never),
    (error: Error) => {
      assert.match(error.message, /memory\.partitions/);
      assert.match(error.message, /memory\.maxDepth/);
      return true;
    },
  );
  assert.throws(() => memory({ shape: "ring" } as never), { code: "CONFIG" });
});

void test("before connect and after close nothing is taken, definite; closing twice is harmless", async () => {
  const broker = memoryBroker();
  const transport = memory({ broker });
  assert.equal(errorOf((await transport.publish([message(1)], { signal }))[0]).code, "CONNECTION");
  const statuses: string[] = [];
  await assert.rejects(transport.connect({ signal: AbortSignal.abort(), onStatus: () => undefined }), { code: "ABORTED" });
  await transport.connect({ signal, onStatus: (status) => statuses.push(status) });
  await transport.close();
  await transport.close();
  assert.deepEqual(statuses, ["connecting", "connected", "closed"]);
  const [outcome] = await transport.publish([message(1)], { signal });
  assert.deepEqual([errorOf(outcome).code, errorOf(outcome).certainty], ["CLOSED", "definite"]);
  await assert.rejects(async () => transport.inspect?.("orders", "billing"), { code: "CLOSED" });
});

void test("a broker that is away cannot be reached, and can be once it is there", async () => {
  const broker = memoryBroker();
  broker.stop();
  const transport = memory({ broker });
  const options = { signal, onStatus: () => undefined };
  await assert.rejects(transport.connect(options), { code: "CONNECTION", retryable: true });
  broker.start();
  await transport.connect(options);
  await transport.close();
});

void test("dispose releases what is in hand, uncounted, and ends the iteration; twice is harmless", async () => {
  const rig = await createRig();
  const taker = await rig.subscribe();
  await rig.publish(message("a"));
  const [delivery] = await taker.until(1);
  await taker.subscription[Symbol.asyncDispose]();
  await taker.subscription[Symbol.asyncDispose]();
  await eventually(() => taker.ended, "the end");
  const next = await rig.subscribe();
  assert.equal((await next.until(1))[0]?.attempt, 1);
  assert.deepEqual(await taker.settle("ack", delivery as Delivery), ["lost"]);
  await rig.transport.close();
  await eventually(() => next.ended, "the end");
});

void test("ending the iteration stops intake, and what is in hand can still be settled", async () => {
  const rig = await createRig();
  const { subscription } = await rig.subscribe({ group: "other" });
  assert.throws(() => subscription.deliveries()[Symbol.asyncIterator](), { code: "BUSY" });
  const taken: Delivery[] = [];
  const stopping = await rig.transport.subscribe(requestFor({ credit: { messages: 1, bytes: 1 } }));
  await rig.publish(message("a"), message("b"));
  for await (const batch of stopping.deliveries()) {
    taken.push(...batch);
    break;
  }
  assert.deepEqual(await stopping.settle(taken.map((delivery) => ({ kind: "ack", delivery }))), ["done"]);
  await settled();
  assert.deepEqual(await rig.transport.inspect?.("orders", "billing").then((seen) => [seen.depth, seen.inFlight]), [1, 0]);
  await rig.transport.close();
});

void test("two subscriptions of one transport go their own ways", async () => {
  const rig = await createRig();
  const slow = await rig.subscribe({ credit: { messages: 1, bytes: 1 } });
  const fast = await rig.subscribe({ group: "search" });
  await rig.publish(...[1, 2, 3].map((body) => message(body)));
  await fast.until(3);
  await fast.settle("ack", ...fast.deliveries);
  assert.deepEqual(await slow.settle("ack", ...fast.deliveries), ["lost", "lost", "lost"], "another one's deliveries");
  assert.deepEqual(slow.bodies(), [1]);
  await slow.settle("ack", ...slow.deliveries);
  await slow.until(2);
  await rig.transport.close();
});

void test("blocked: a publish waits; its signal makes it definite, unblocking lets it through", async () => {
  const rig = await createRig();
  const taker = await rig.subscribe();
  rig.broker.block();
  const abort = new AbortController();
  const given = rig.transport.publish([message("given up")], { signal: abort.signal });
  const waiting = rig.publish(message("waits"));
  await settled();
  abort.abort();
  const [outcome] = await given;
  assert.deepEqual([errorOf(outcome).code, errorOf(outcome).certainty], ["ABORTED", "definite"]);
  rig.broker.unblock();
  assert.deepEqual(await waiting, [{ ok: true }]);
  await taker.until(1);
  await settled();
  assert.deepEqual(taker.bodies(), ["waits"]);
  await rig.transport.close();
});

void test("confirms held back: it took effect, and nobody knows, whatever ends the waiting", async () => {
  const rig = await createRig();
  const taker = await rig.subscribe();
  rig.broker.block("confirms");
  const abort = new AbortController();
  const given = rig.transport.publish([message(1)], { signal: abort.signal });
  const cut = rig.publish(message(2));
  await taker.until(2);
  const unsure = taker.settle("ack", ...taker.deliveries);
  abort.abort();
  rig.broker.stop();
  assert.deepEqual([errorOf((await given)[0]).certainty, errorOf((await cut)[0]).certainty], ["indefinite", "indefinite"]);
  assert.equal(errorOf((await cut)[0]).code, "CONNECTION_LOST");
  assert.deepEqual(await unsure, ["unknown", "unknown"]);
  rig.broker.start();
  assert.equal((await rig.transport.inspect?.("orders", "billing"))?.depth, 0);
  await rig.transport.close();
});

void test("a broker that goes away takes nothing with it: what was in hand is lost to its member, and comes again", async () => {
  const rig = await createRig();
  const taker = await rig.subscribe();
  await rig.publish(message("a"));
  const [old] = await taker.until(1);
  rig.broker.block();
  const cut = rig.publish(message("never taken"));
  rig.broker.stop();
  assert.equal(errorOf((await cut)[0]).certainty, "indefinite");
  assert.deepEqual(taker.events, [{ kind: "lost", part: "", generation: (taker.events[0] as { generation: number }).generation }]);
  assert.ok((taker.events[0] as { generation: number }).generation >= (old as Delivery).generation);
  assert.equal(errorOf((await rig.publish(message("refused")))[0]).certainty, "definite");
  await assert.rejects(rig.subscribe(), { code: "CONNECTION" });
  assert.deepEqual(await taker.settle("ack", old as Delivery), ["lost"]);
  rig.broker.start();
  await rig.publish(message("b"));
  await taker.until(3);
  assert.deepEqual(
    taker.deliveries.slice(1).map(({ message, attempt }) => [message.body, attempt]),
    [
      ["a", 2],
      ["b", 1],
    ],
  );
  assert.deepEqual(rig.statuses, ["connecting", "connected", "disconnected", "connecting", "connected"]);
  await rig.transport.close();
});

void test("a crashed transport hears and says nothing until it is closed", async () => {
  const rig = await createRig();
  const dying: Transport = await rig.open();
  const taker = await rig.subscribe({}, dying);
  await rig.publish(message("a"));
  await taker.until(1);
  rig.broker.crash(dying);
  const publish = dying.publish([message("unheard")], { signal });
  const subscribe = rig.subscribe({}, dying);
  const settle = taker.settle("ack", ...taker.deliveries);
  const inspect = dying.inspect?.("orders", "billing");
  await rig.publish(message("b"));
  const heir = await rig.subscribe();
  await heir.until(2);
  assert.deepEqual(
    heir.deliveries.map(({ message, attempt }) => [message.body, attempt]),
    [
      ["a", 2],
      ["b", 1],
    ],
  );
  assert.equal(taker.deliveries.length, 1);
  await dying.close();
  assert.equal(errorOf((await publish)[0]).certainty, "indefinite");
  await assert.rejects(subscribe, { code: "CLOSED" });
  await assert.rejects(async () => inspect, { code: "CLOSED" });
  assert.deepEqual(await settle, ["unknown"]);
  assert.deepEqual(taker.events, []);
  await rig.transport.close();
});

void test("subscribing is given up when its signal fires before it has begun", async () => {
  const rig = await createRig();
  await assert.rejects(rig.subscribe({ signal: AbortSignal.abort() }), { code: "ABORTED" });
  await assert.rejects(rig.subscribe({ pattern: ">", topic: "orders" }), { code: "CONFIG" });
  await rig.transport.close();
});

void test("whoever handles without waiting lets the event loop have its turn", async () => {
  const transport = memory();
  await transport.connect({ signal, onStatus: () => undefined });
  const subscription = await transport.subscribe(requestFor({ credit: { messages: 1, bytes: 1 } }));
  await transport.publish(
    Array.from({ length: 20_000 }, (_, body) => message(body)),
    { signal },
  );
  let turns = 0;
  let handled = 0;
  const count = setInterval(() => (turns += 1), 1);
  for await (const batch of subscription.deliveries()) {
    await subscription.settle(batch.map((delivery) => ({ kind: "ack", delivery })));
    handled += batch.length;
    if (handled === 20_000) break;
  }
  clearInterval(count);
  assert.ok(turns > 0, "no timer fired");
  await transport.close();
});

void test("a crashed reader or inbox is gone for good: nothing is kept for it", async () => {
  for (const shape of ["queue", "log", "push"] as const) {
    const rig = await createRig({ shape });
    const dying = await rig.open();
    const inbox = await rig.subscribe({ inbox: true }, dying);
    const reader = await rig.subscribe({ group: undefined }, dying);
    rig.broker.crash(dying);
    const [reply] = await rig.publish(message("reply", { topic: inbox.subscription.address! }), message("a"));
    if (shape !== "log") assert.equal(errorOf(reply).code, "NO_RESPONDERS");
    await settled();
    assert.deepEqual([reader.bodies(), inbox.bodies(), rig.broker.unheard], [[], [], shape === "log" ? 0 : 1]);
    await dying.close();
    await rig.transport.close();
  }
});

void test("what belongs to the broker cannot be said of one transport", () => {
  const options: object = { broker: memoryBroker(), encode: true };
  assert.throws(() => memory(options), { code: "CONFIG" });
});

void test("an iteration is asked for one batch at a time", async () => {
  const rig = await createRig();
  const subscription = await rig.transport.subscribe(requestFor({ credit: { messages: 1, bytes: 1 } }));
  const iterator = subscription.deliveries()[Symbol.asyncIterator]();
  const first = iterator.next();
  await assert.rejects(iterator.next(), { code: "BUSY" });
  await rig.publish(message("a"));
  const batch = await first;
  assert.deepEqual(batch.done === true ? [] : batch.value.map((delivery) => delivery.message.body), ["a"]);
  const last = iterator.next();
  await iterator.return?.();
  assert.equal((await last).done, true);
  await rig.transport.close();
});

for (const shape of ["queue", "log"] as const) {
  void test(`a publisher that waits for nothing leaves its consumers their turn: ${shape}`, async () => {
    const transport = memory({ shape });
    await transport.connect({ signal, onStatus: () => undefined });
    const subscription = await transport.subscribe(requestFor({ credit: { messages: 1_000, bytes: 1 } }));
    const consuming = (async () => {
      for await (const batch of subscription.deliveries()) {
        await new Promise((resolve) => process.nextTick(resolve));
        await subscription.settle(batch.map((delivery) => ({ kind: "ack", delivery })));
      }
    })();
    const batch = Array.from({ length: 500 }, (_, body) => message(body));
    let most = 0;
    for (let round = 0; round < 100; round += 1) {
      await transport.publish(batch, { signal });
      const { depth } = (await transport.inspect?.("orders", "billing")) ?? {};
      most = Math.max(most, depth as number);
    }
    assert.ok(most < 25_000, `${most} of 50,000 waited`);
    await transport.close();
    await consuming;
  });
}
