import assert from "node:assert/strict";
import { test } from "node:test";
import { median, summarize } from "./median.ts";

test("the median is the middle value, or the mean of the two in the middle", () => {
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(median([7]), 7);
  assert.ok(Number.isNaN(median([])));
});

test("numbers are sorted as numbers, and the input stays as it was", () => {
  const values = [100, 9, 20];
  assert.equal(median(values), 20);
  assert.deepEqual(values, [100, 9, 20]);
});

test("a summary has the span; what may never be exceeded has its worst for a value", () => {
  assert.deepEqual(summarize([3, 1, 2]), { value: 2, low: 1, high: 3, samples: 3 });
  assert.equal(summarize([3, 1, 2], "worst").value, 3);
  assert.ok(Number.isNaN(summarize([]).value));
});
