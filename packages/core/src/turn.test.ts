import assert from "node:assert/strict";
import { test } from "node:test";
import { createTurn } from "./turn.ts";
import { createVirtualClock } from "./virtual-clock.ts";

const immediate = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

void test("a turn is over after 2 ms, until the event loop has had its own", async () => {
  const clock = createVirtualClock();
  const turn = createTurn(clock);
  assert.equal(turn.isOver(), false);
  clock.tick(2);
  assert.equal(turn.isOver(), false);
  clock.tick(1);
  assert.equal(turn.isOver(), true);
  const order: string[] = [];
  setImmediate(() => order.push("the loop"));
  const waits = [turn.next().then(() => order.push("first")), turn.next().then(() => order.push("second"))];
  await Promise.all(waits);
  assert.deepEqual(order, ["the loop", "first", "second"]);
  assert.equal(turn.isOver(), false);
});

void test("a clock that stands still does not starve the event loop", async () => {
  const turn = createTurn(createVirtualClock());
  let turned = false;
  setImmediate(() => (turned = true));
  for (let asked = 0; !turned; asked += 1) {
    assert.ok(asked < 100_000);
    if (turn.isOver()) await turn.next();
  }
  await immediate();
  let deferred = false;
  turn.defer(() => (deferred = true));
  assert.equal(deferred, false);
  await immediate();
  assert.equal(deferred, true);
});
