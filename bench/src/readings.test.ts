import assert from "node:assert/strict";
import { test } from "node:test";
import { inRounds, inTurns, mergeReadings } from "./readings.ts";

test("the first round is dropped", async () => {
  const readings = await inRounds(2, async (record, index) => record.add("n", index));
  assert.deepEqual(readings, { n: [1, 2] });
});

test("two sides take turns in going first", async () => {
  const order: string[] = [];
  const sides = { a: async () => order.push("a"), b: async () => order.push("b") };
  assert.deepEqual(await inTurns(0, sides), { a: 1, b: 2 });
  assert.deepEqual(await inTurns(1, sides), { b: 3, a: 4 });
  assert.deepEqual(order, ["a", "b", "b", "a"]);
});

test("the readings of several processes are put together", () => {
  assert.deepEqual(mergeReadings([{ a: [1], b: [2] }, { a: [3] }]), { a: [1, 3], b: [2] });
});
