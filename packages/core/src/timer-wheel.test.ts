import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "./clock.ts";
import type { TimerHandle } from "./timer-wheel.ts";
import { createTimers } from "./timer-wheel.ts";
import { createVirtualClock } from "./virtual-clock.ts";

function make(tickMs = 10) {
  const clock = createVirtualClock();
  const ran: string[] = [];
  const timers = createTimers<string>(clock, tickMs, (item) => ran.push(`${item}@${clock.monotonic()}`));
  return { clock, ran, timers };
}

void test("items run at the end of their tick, in the order of their ticks", () => {
  const { clock, ran, timers } = make();
  timers.add(25, "c");
  timers.add(10, "b");
  timers.add(1, "a");
  timers.add(0, "a0");
  timers.add(30, "c2");
  clock.tick(100);
  assert.deepEqual(ran, ["b@10", "a@10", "a0@10", "c@30", "c2@30"]);
  assert.equal(timers.size, 0);
  assert.equal(clock.pending, 0, "it stops when it is empty");
});

void test("never early and at most one tick late, also beyond a round of the wheel", () => {
  const clock = createVirtualClock();
  clock.tick(3);
  let late = 0;
  const timers = createTimers<number>(clock, 10, (dueAt) => {
    late = clock.monotonic() - dueAt;
    assert.ok(late >= 0 && late <= 10, String(late));
    count += 1;
  });
  let count = 0;
  let seed = 1;
  for (let n = 0; n < 2_000; n++) {
    seed = (seed * 48_271) % 2_147_483_647;
    const delayMs = n % 50 === 0 ? seed % 3_600_000 : seed % 20_000;
    timers.add(delayMs, clock.monotonic() + delayMs);
    if (n % 3 === 0) clock.tick(seed % 17);
  }
  clock.tick(4_000_000);
  assert.equal(count, 2_000);
  assert.equal(clock.pending, 0);
});

void test("the clock is woken for what is there, not each tick", () => {
  const clock = createVirtualClock();
  let wakes = 0;
  const counting = { ...clock, after: (delayMs: number, run: () => void) => clock.after(delayMs, () => ((wakes += 1), run())) };
  const timers = createTimers<string>(counting, 10, () => {});
  timers.add(5_000, "lease");
  assert.equal(clock.pending, 1);
  clock.tick(5_000);
  assert.equal(wakes, 1);
  timers.add(51_200, "ten rounds");
  clock.tick(51_200);
  assert.ok(wakes <= 12, String(wakes));
  assert.equal(timers.size, 0);
});

void test("a cancelled item does not run; cancelling again, or after it has run, is harmless", () => {
  const { clock, ran, timers } = make();
  const a = timers.add(10, "a");
  const b = timers.add(10, "b");
  assert.equal(timers.cancel(a), true);
  assert.equal(timers.cancel(a), false);
  clock.tick(10);
  assert.equal(timers.cancel(b), false);
  assert.deepEqual(ran, ["b@10"]);
  const only = timers.add(1_000, "c");
  timers.cancel(only);
  assert.equal(clock.pending, 0);
  assert.equal(timers.size, 0);
});

void test("one that runs may cancel one that is due with it, and add another", () => {
  const clock = createVirtualClock();
  const ran: string[] = [];
  const handles = new Map<string, TimerHandle>();
  const timers = createTimers<string>(clock, 10, (item) => {
    ran.push(item);
    if (item !== "a") return;
    assert.equal(timers.cancel(handles.get("b") as TimerHandle), true);
    timers.add(0, "d");
  });
  for (const name of ["a", "b", "c"]) handles.set(name, timers.add(10, name));
  clock.tick(10);
  assert.deepEqual(ran, ["a", "c"]);
  clock.tick(10);
  assert.deepEqual(ran, ["a", "c", "d"]);
  assert.equal(clock.pending, 0);
});

void test("after a stall of many rounds everything runs once, and an earlier item moves the alarm", () => {
  const { clock, ran, timers } = make();
  timers.add(60_000, "late");
  timers.add(20, "soon");
  assert.equal(clock.pending, 1);
  let stalled = true;
  const stall = createVirtualClock();
  const blocked = createTimers<string>(
    { ...stall, after: (delayMs, run) => stall.after(stalled && delayMs > 0 ? 100_000 : delayMs, run) },
    10,
    (item) => ran.push(item),
  );
  for (let n = 0; n < 2_000; n++) blocked.add(n * 7, "x");
  stall.tick(100_000);
  stalled = false;
  stall.tick(100);
  assert.equal(ran.length, 2_000);
  clock.tick(20);
  assert.equal(ran.at(-1), "soon@20");
});

void test("clear forgets all", () => {
  const { clock, ran, timers } = make();
  for (let n = 0; n < 100; n++) timers.add(n * 100, "x");
  timers.clear();
  assert.equal(timers.size, 0);
  assert.equal(clock.pending, 0);
  clock.tick(20_000);
  assert.deepEqual(ran, []);
  timers.add(10, "again");
  clock.tick(20);
  assert.equal(ran.length, 1);
});

void test("many that are due at once leave the event loop its turns", { timeout: 20_000 }, async () => {
  let ran = 0;
  let turns = 0;
  const done = Promise.withResolvers<void>();
  const timers = createTimers<number>(systemClock, 5, () => {
    ran += 1;
    for (const until = performance.now() + 0.05; performance.now() < until;);
    if (ran === 2_000) done.resolve();
  });
  for (let n = 0; n < 2_000; n++) timers.add(20, n);
  const watch = setInterval(() => (turns += 1), 1);
  await done.promise;
  clearInterval(watch);
  assert.ok(turns >= 10, `${turns} turns in 100 ms of work`);
});
