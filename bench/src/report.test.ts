import assert from "node:assert/strict";
import { test } from "node:test";
import type { Goal } from "./bench.ts";
import { figuresOf, judge, round, table } from "./report.ts";

const rate: Goal = { name: "rate", unit: "msg/s", goal: 1000, atLeast: true };
const delay: Goal = { name: "delay", unit: "ms", goal: 10, atLeast: false };

test("a goal is met by the median, on the right side of the limit", () => {
  assert.deepEqual(judge(rate, { rate: [900, 1000, 5000] }), {
    name: "rate",
    value: 1000,
    unit: "msg/s",
    goal: 1000,
    atLeast: true,
    met: true,
    low: 900,
    high: 5000,
    samples: 3,
  });
  assert.equal(judge(rate, { rate: [999.9] }).met, false);
  assert.equal(judge(delay, { delay: [10] }).met, true);
  assert.equal(judge(delay, { delay: [10.001] }).met, false);
});

test("what is printed is rounded, what is compared is not", () => {
  const result = judge(rate, { rate: [999.9999] });
  assert.equal(result.value, 1000);
  assert.equal(result.met, false);
});

test("the worst counts where one excess is too many", () => {
  assert.equal(judge({ ...delay, pick: "worst" }, { delay: [1, 2, 11] }).met, false);
});

test("what was not measured is not met", () => {
  for (const goal of [rate, delay]) {
    const { value, met, samples } = judge(goal, {});
    assert.deepEqual({ value, met, samples }, { value: null, met: false, samples: 0 });
  }
  assert.equal(judge(delay, { delay: [Number.NaN] }).met, false);
});

test("figures are told beside the goals", () => {
  const bench = {
    name: "b",
    goals: [],
    figures: [{ name: "base", unit: "msg/s" }],
    processes: 1,
    rounds: 1,
    measure: async () => ({}),
  };
  assert.deepEqual(figuresOf(bench, { base: [1, 3] }), [{ name: "base", value: 2, unit: "msg/s", low: 1, high: 3 }]);
});

test("four digits are kept", () => {
  assert.equal(round(0.123456), 0.1235);
  assert.equal(round(1234567.8), 1234568);
  assert.equal(round(Number.NaN), null);
});

test("the table shows each goal with its limit, and misses by that word", () => {
  const text = table([judge(rate, { rate: [1500] }), judge(delay, { delay: [11, 12, 13] })], []);
  assert.match(text, /ok +rate +1,500 +msg\/s +>= 1,000/);
  assert.match(text, /MISS +delay +12 +ms +11\.\.13 +<= 10/);
});
