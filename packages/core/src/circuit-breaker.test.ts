import assert from "node:assert/strict";
import { test } from "node:test";
import type { CircuitState } from "./circuit-breaker.ts";
import { createCircuitBreaker } from "./circuit-breaker.ts";
import { isWaybillError } from "./errors.ts";
import { createVirtualClock } from "./virtual-clock.ts";

function make(options: Parameters<typeof createCircuitBreaker>[0] = {}) {
  const clock = createVirtualClock();
  const changes: CircuitState[] = [];
  const breaker = createCircuitBreaker({
    window: 10,
    minCalls: 4,
    openFor: "10s",
    trials: 2,
    ...options,
    clock,
    onChange: (state) => changes.push(state),
  });
  const call = (ok: boolean): void => {
    assert.equal(breaker.waitMs(), 0);
    breaker.started();
    breaker.ended(ok);
  };
  return { clock, breaker, changes, call };
}

void test("it opens at its rate, and not before enough calls", () => {
  const { breaker, call } = make();
  for (let n = 0; n < 3; n++) call(false);
  assert.equal(breaker.state, "closed");
  call(true);
  assert.equal(breaker.state, "open", "3 of 4");
  const half = make();
  for (const ok of [true, true, true, false, false]) half.call(ok);
  assert.equal(half.breaker.state, "closed", "2 of 5");
  half.call(false);
  assert.equal(half.breaker.state, "open", "3 of 6");
});

void test("only the last calls count", () => {
  const { breaker, call } = make();
  for (const ok of [true, true, true, false, false, true, true, true, true, true]) call(ok);
  for (let n = 0; n < 20; n++) call(n % 5 !== 0);
  assert.equal(breaker.state, "closed");
  for (let n = 0; n < 1_000; n++) call(true);
  for (let n = 0; n < 4; n++) call(false);
  assert.equal(breaker.state, "closed", "4 of 10");
  call(false);
  assert.equal(breaker.state, "open", "5 of 10");
});

void test("open, it lets nothing through for its time, then so many trials", () => {
  const { breaker, call, clock, changes } = make();
  for (let n = 0; n < 4; n++) call(false);
  assert.equal(breaker.waitMs(), 10_000);
  clock.tick(9_999);
  assert.equal(breaker.waitMs(), 1);
  clock.tick(1);
  assert.equal(breaker.waitMs(), 0);
  breaker.started();
  assert.equal(breaker.state, "half-open");
  assert.equal(breaker.waitMs(), 0);
  breaker.started();
  assert.ok(breaker.waitMs() > 0, "two trials, not three");
  breaker.ended(true);
  assert.equal(breaker.state, "half-open");
  breaker.ended(true);
  assert.equal(breaker.state, "closed");
  assert.deepEqual(changes, ["open", "half-open", "closed"]);
  for (let n = 0; n < 3; n++) call(false);
  assert.equal(breaker.state, "closed", "it starts afresh");
});

void test("a failed trial opens it again for the whole time", () => {
  const { breaker, call, clock } = make();
  for (let n = 0; n < 4; n++) call(false);
  clock.tick(10_000);
  breaker.started();
  breaker.started();
  breaker.ended(true);
  breaker.ended(false);
  assert.equal(breaker.state, "open");
  assert.equal(breaker.waitMs(), 10_000);
});

void test("trials that never end do not keep it half-open for ever", () => {
  const { breaker, call, clock } = make();
  for (let n = 0; n < 4; n++) call(false);
  clock.tick(10_000);
  breaker.started();
  breaker.started();
  assert.equal(breaker.waitMs(), 10_000);
  clock.tick(10_000);
  assert.equal(breaker.waitMs(), 0);
  call(true);
  call(true);
  assert.equal(breaker.state, "closed");
});

void test("a call of before says nothing of now", () => {
  const { breaker, call, clock } = make();
  breaker.started();
  const old = breaker.generation;
  for (let n = 0; n < 4; n++) call(false);
  breaker.ended(true, old);
  clock.tick(10_000);
  breaker.started();
  breaker.ended(false, old);
  assert.equal(breaker.state, "half-open");
  breaker.ended(true, breaker.generation);
  call(true);
  assert.equal(breaker.state, "closed");
});

void test("run does the work, counts it, and refuses while open", async () => {
  const { breaker, clock } = make();
  const boom = new Error("boom");
  assert.equal(await breaker.run(async () => 5), 5);
  for (let n = 0; n < 3; n++) {
    await assert.rejects(
      breaker.run(() => Promise.reject(boom)),
      boom,
    );
  }
  let called = false;
  await assert.rejects(
    breaker.run(async () => (called = true)),
    (error) => isWaybillError(error, "CIRCUIT_OPEN") && error.certainty === "definite" && /10000 ms/.test(error.message),
  );
  assert.equal(called, false);
  clock.tick(10_000);
  for (let n = 0; n < 2; n++) {
    await assert.rejects(
      breaker.run(
        () => Promise.reject(boom),
        () => false,
      ),
      boom,
    );
  }
  assert.equal(breaker.state, "closed", "what is no failure went well");
});

void test("wrong options are refused", () => {
  for (const [key, value] of Object.entries({
    failureRate: 2,
    window: 0,
    minCalls: 1.5,
    openFor: "x",
    trials: -1,
    onChange: 5,
    opeFor: 1,
  })) {
    assert.throws(
      () => createCircuitBreaker({ [key]: value }),
      (error) => isWaybillError(error, "CONFIG") && error.message.includes(`circuitBreaker.${key}`),
    );
  }
});
