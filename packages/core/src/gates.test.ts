import assert from "node:assert/strict";
import { test } from "node:test";
import { gatesOf } from "./gates.ts";
import { createVirtualClock } from "./virtual-clock.ts";

void test("no option, no gate", () => {
  assert.deepEqual(gatesOf({ group: "g" }, createVirtualClock()), []);
});

void test("both must let it through, and a refusal of one costs the other nothing", () => {
  const clock = createVirtualClock();
  const [gate] = gatesOf(
    { group: "g", rateLimit: { perSecond: 10, burst: 1 }, circuitBreaker: { window: 1, openFor: "1s", trials: 1 } },
    clock,
  );
  assert.ok(gate);
  assert.equal(gate.waitMs(), 0);
  gate.ended(true);
  assert.equal(gate.waitMs(), 100, "the rate");
  clock.tick(100);
  assert.equal(gate.waitMs(), 0);
  gate.ended(false);
  assert.equal(gate.waitMs(), 1_000, "the breaker");
  clock.tick(1_000);
  assert.equal(gate.waitMs(), 0, "its trial; the tokens of the refusals were not taken");
  assert.equal(gate.waitMs(), 1_000, "one trial only");
  gate.ended(true);
  clock.tick(100);
  assert.equal(gate.waitMs(), 0, "closed again");
});
