import assert from "node:assert/strict";
import { test } from "node:test";
import { durationMs, expectedDuration, readDuration } from "./duration.ts";
import type { Duration } from "./duration.ts";
import { isWaybillError } from "./errors.ts";

void test("a duration is read in every unit", () => {
  const cases: [Duration, number][] = [
    ["250ms", 250],
    ["30s", 30_000],
    ["5m", 300_000],
    ["1h", 3_600_000],
    ["7d", 604_800_000],
    ["1.1s", 1_100],
    ["0.5 s", 500],
    ["0ms", 0],
    [0, 0],
    [1234, 1234],
  ];
  for (const [value, ms] of cases) assert.equal(durationMs(value, "x"), ms, String(value));
});

void test("what is no duration is refused with its path and without its value", () => {
  const wrong: unknown[] = [
    "",
    "s",
    "30",
    "30 sec",
    "-1s",
    "1e3ms",
    "1s ",
    " 1s",
    "1s\n",
    "s3cr3t",
    -1,
    Number.NaN,
    Infinity,
    null,
    undefined,
    {},
    [],
    5n,
    true,
  ];
  for (const value of wrong) {
    assert.throws(
      () => durationMs(value as Duration, "retry.backoff.base"),
      (error) =>
        isWaybillError(error, "CONFIG") &&
        error.message.startsWith("retry.backoff.base: expected a duration") &&
        !error.message.includes("s3cr3t"),
      String(value),
    );
  }
});

void test("bounds are kept and named", () => {
  assert.equal(readDuration("1s", { min: 1_000, max: 1_000 }), 1_000);
  assert.equal(readDuration("999ms", { min: 1_000 }), undefined);
  assert.equal(readDuration("1001ms", { max: 1_000 }), undefined);
  assert.match(expectedDuration({ min: 5, max: 10 }), /at least 5 ms, at most 10 ms/);
});

void test("a very long text is refused at once", () => {
  assert.equal(readDuration("9".repeat(1_000_000) + "s"), undefined);
});
