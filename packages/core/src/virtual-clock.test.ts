import assert from "node:assert/strict";
import { test } from "node:test";
import { createVirtualClock } from "./virtual-clock.ts";

void test("timers run in their order, at their time, also those added on the way", () => {
  const clock = createVirtualClock({ now: 1_000 });
  const ran: string[] = [];
  const note = (name: string) => () => ran.push(`${name}@${clock.monotonic()}/${clock.now()}`);
  clock.after(20, note("b"));
  clock.after(10, () => {
    note("a")();
    clock.after(5, note("a2"));
    clock.after(0, note("a1"));
  });
  clock.after(20, note("c"));
  clock.after(30, note("late"));
  assert.equal(clock.nextAt, 10);
  clock.tick(25);
  assert.equal(clock.nextAt, 30);
  assert.deepEqual(ran, ["a@10/1010", "a1@10/1010", "a2@15/1015", "b@20/1020", "c@20/1020"]);
  assert.equal(clock.monotonic(), 25);
  assert.equal(clock.pending, 1);
});

void test("a cancelled timer does not run, and cancelling again is harmless", () => {
  const clock = createVirtualClock();
  const timer = clock.after(1, () => assert.fail("ran"));
  timer.cancel();
  timer.cancel();
  clock.tick(10);
  const ran = clock.after(1, () => {});
  clock.tick(1);
  ran.cancel();
});

void test("advance lets promises go on between timers", async () => {
  const clock = createVirtualClock();
  const sleep = (ms: number) => new Promise<void>((resolve) => clock.after(ms, resolve));
  const seen: number[] = [];
  const work = (async () => {
    for (let n = 0; n < 5; n++) {
      await sleep(100);
      seen.push(clock.monotonic());
    }
  })();
  await clock.advance(450);
  assert.deepEqual(seen, [100, 200, 300, 400]);
  await clock.advance(50);
  await work;
});

void test("setting the wall clock leaves the monotonic one alone", () => {
  const clock = createVirtualClock({ now: 5_000 });
  let ran = false;
  clock.after(10, () => (ran = true));
  clock.tick(5);
  clock.setNow(100);
  assert.deepEqual([clock.now(), clock.monotonic()], [100, 5]);
  clock.tick(5);
  assert.equal(ran, true);
  assert.equal(clock.now(), 105);
});
