import assert from "node:assert/strict";
import { test } from "node:test";
import { joinTurns, leaveTurns, makeTurns } from "./turns.ts";

test("the lock goes from one to the next in turn, and nobody is left out", async () => {
  const shared = makeTurns();
  const counts = [0, 0, 0];
  let holders = 0;
  await Promise.all(
    counts.map(async (_, place) => {
      const turns = joinTurns(shared, place);
      for (let n = 0; n < 200; n++) {
        assert(await turns.takeAsync(10_000));
        assert.equal(++holders, 1);
        counts[place]!++;
        await new Promise((resolve) => setImmediate(resolve));
        holders--;
        assert(Math.max(...counts) - Math.min(...counts) <= 2 || counts.some((count) => count === 200));
        turns.give();
      }
    }),
  );
  assert.deepEqual(counts, [200, 200, 200]);
});

test("a wait ends in time, and leaves the lock to others", async () => {
  const shared = makeTurns();
  const first = joinTurns(shared, 0);
  const second = joinTurns(shared, 1);
  assert(first.take(0));
  assert(!second.take(5));
  assert(!(await second.takeAsync(5)));
  first.give();
  first.give();
  assert(second.take(0));
});

test("what one held or waited for who is gone comes free", async () => {
  const shared = makeTurns();
  const first = joinTurns(shared, 0);
  const second = joinTurns(shared, 1);
  const third = joinTurns(shared, 2);
  assert(first.take(0));
  const waits = third.takeAsync(10_000);
  void second.takeAsync(50);
  leaveTurns(shared, 1);
  leaveTurns(shared, 0);
  assert(await waits);
});
