import assert from "node:assert/strict";
import { test } from "node:test";
import { createIntake, type Incoming } from "./intake.ts";
import type { HandedIn } from "./ipc.ts";
import { orderOf } from "./seed.ts";
import { abortable, countAhead } from "./source.ts";

async function* incoming(count: number): AsyncGenerator<Incoming> {
  for (let index = 0; index < count; index++) yield { order: orderOf(1, index), source: "generator" };
}
const never = new AbortController().signal;

/** An intake with a shop that the test plays. */
function rig(room = (): number => Number.POSITIVE_INFINITY) {
  const sent: HandedIn[] = [];
  const used: Incoming[] = [];
  const failed: string[] = [];
  let up = true;
  const intake = createIntake({
    room,
    send(orders) {
      if (up) sent.push(...orders);
      return up;
    },
    onTaken: () => {},
    onUsed: (one) => used.push(one),
    onFailed: (reason) => failed.push(reason),
  });
  return { intake, sent, used, failed, shop: (is: boolean) => (up = is) };
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!condition()) {
    assert.ok(performance.now() < deadline, "waited in vain");
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test("every order is handed in once when the shop answers, and the run ends then", async () => {
  const { intake, sent } = rig();
  const done = intake.run(incoming(1000), never);
  for (let at = 0; at < 1000;) {
    await until(() => sent.length > at);
    assert.ok(intake.waiting <= 256);
    intake.answered(sent.slice(at).map(({ order }) => ({ id: order.id, outcome: "taken" })));
    at = sent.length;
  }
  await done;
  assert.equal(new Set(sent.map(({ order }) => order.id)).size, 1000);
  assert.ok(sent.every(({ resent }) => !resent));
  assert.deepEqual([intake.taken, intake.waiting], [1000, 0]);
});

test("what a dead shop did not answer is handed in again, and marked so", async () => {
  const { intake, sent, shop } = rig();
  const done = intake.run(incoming(10), never);
  await until(() => sent.length === 10);
  intake.answered([{ id: orderOf(1, 0).id, outcome: "taken" }]);
  shop(false);
  shop(true);
  intake.shopReady();
  await until(() => sent.length === 19);
  assert.ok(sent.slice(10).every(({ order, resent }) => resent && order.id !== orderOf(1, 0).id));
  // The answer of the first shop may still come, and the second's after it.
  for (let times = 0; times < 2; times++) intake.answered(sent.slice(10).map(({ order }) => ({ id: order.id, outcome: "taken" })));
  await done;
  assert.equal(intake.taken, 10);
});

test("orders wait for a shop that is away", async () => {
  const { intake, sent, shop } = rig();
  shop(false);
  const done = intake.run(incoming(3), never);
  await until(() => intake.waiting === 3);
  assert.equal(sent.length, 0);
  shop(true);
  intake.shopReady();
  await until(() => sent.length === 3);
  intake.answered(sent.map(({ order }) => ({ id: order.id, outcome: "taken" })));
  await done;
});

test("a failed hand-over is repeated, a used id is not", async () => {
  const { intake, sent, used, failed } = rig();
  const done = intake.run(incoming(2), never);
  await until(() => sent.length === 2);
  intake.answered([
    { id: orderOf(1, 0).id, outcome: "failed", reason: "no quote" },
    { id: orderOf(1, 1).id, outcome: "used" },
  ]);
  await until(() => sent.length === 3);
  assert.equal(sent[2]?.resent, true);
  intake.answered([{ id: orderOf(1, 0).id, outcome: "taken" }]);
  await done;
  assert.deepEqual([intake.taken, used.length, failed], [1, 1, ["no quote"]]);
});

test("no more are handed in than there is room for, and a signal ends the waiting", async () => {
  let room = 5;
  const { intake, sent } = rig(() => room);
  const stop = new AbortController();
  const done = intake.run(incoming(100), stop.signal);
  await until(() => sent.length === 5);
  room = 7;
  intake.wake();
  await until(() => sent.length === 7);
  stop.abort();
  await until(() => intake.waiting === 7);
  intake.answered(sent.map(({ order }) => ({ id: order.id, outcome: "taken" })));
  await done;
  assert.equal(sent.length, 7);
});

test("looking ahead changes nothing but what is known", async () => {
  const all = async (source: AsyncIterable<Incoming>): Promise<string[]> => {
    const ids: string[] = [];
    for await (const { order } of source) ids.push(order.id);
    return ids;
  };
  const want = await all(incoming(10));
  for (const [most, total] of [
    [20, 10],
    [10, 10],
    [9, undefined],
    [1, undefined],
  ] as const) {
    const counted = await countAhead(incoming(10), most);
    assert.equal(counted.total, total);
    assert.deepEqual(await all(counted.source), want);
  }
  assert.equal((await countAhead(incoming(0), 5)).total, 0);
});

test("a signal ends a source that would never go on", async () => {
  async function* stuck(): AsyncGenerator<number> {
    yield 1;
    await new Promise(() => {});
  }
  const stop = new AbortController();
  const seen: number[] = [];
  for await (const value of abortable(stuck(), stop.signal)) {
    seen.push(value);
    setImmediate(() => stop.abort());
  }
  assert.deepEqual(seen, [1]);
});
