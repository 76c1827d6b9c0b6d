import assert from "node:assert/strict";
import { test } from "node:test";
import { isWaybillError } from "./errors.ts";
import { createRateLimit } from "./rate-limit.ts";
import { createVirtualClock } from "./virtual-clock.ts";

void test("a burst goes at once, then the rate holds", () => {
  const clock = createVirtualClock();
  const limit = createRateLimit({ perSecond: 10, burst: 3, clock });
  assert.deepEqual([limit.take(), limit.take(), limit.take()], [0, 0, 0]);
  assert.deepEqual([limit.take(), limit.take(), limit.take(2)], [100, 200, 400]);
  clock.tick(400);
  assert.equal(limit.take(), 100);
  clock.tick(60_000);
  assert.deepEqual([limit.take(3), limit.take()], [0, 100], "a pause saves up no more than the burst");
});

void test("waitMs takes nothing, and waiting so long is enough", () => {
  const clock = createVirtualClock();
  const limit = createRateLimit({ perSecond: 3, burst: 1, clock });
  let started = 0;
  for (let asked = 0; asked < 10_000 && clock.monotonic() < 10_000; asked++) {
    const waitMs = limit.waitMs();
    if (waitMs === 0) {
      limit.take();
      started += 1;
    } else clock.tick(waitMs);
  }
  assert.ok(started >= 30 && started <= 32, String(started));
  assert.ok(limit.waitMs(100) <= 1_000 / 3 + 0.001, "more than the burst is treated as the burst");
});

void test("many that wait as they are told keep the rate together", () => {
  const clock = createVirtualClock();
  const limit = createRateLimit({ perSecond: 1_000, burst: 1, clock });
  const waits = Array.from({ length: 5_000 }, () => limit.take());
  assert.equal(waits[0], 0);
  assert.ok(Math.abs((waits.at(-1) ?? 0) - 4_999) < 0.001);
});

void test("what was not used can be given back, up to the burst", () => {
  const clock = createVirtualClock();
  const limit = createRateLimit({ perSecond: 1, burst: 2, clock });
  limit.take(2);
  limit.giveBack(2);
  limit.giveBack(50);
  assert.deepEqual([limit.take(2), limit.take(1)], [0, 1_000]);
});

void test("the burst is a tenth of a second's worth by itself; wrong options are refused", () => {
  const clock = createVirtualClock();
  const limit = createRateLimit({ perSecond: 100, clock });
  assert.deepEqual([limit.take(10), limit.take()], [0, 10]);
  for (const options of [{}, { perSecond: 0 }, { perSecond: Number.NaN }, { perSecond: 1, burst: 0 }, { perSecond: 1, bursts: 1 }]) {
    assert.throws(
      () => createRateLimit(options as never),
      (error) => isWaybillError(error, "CONFIG"),
    );
  }
});
