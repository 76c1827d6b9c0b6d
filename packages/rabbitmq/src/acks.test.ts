import assert from "node:assert/strict";
import { test } from "node:test";
import { createAckWindow } from "./acks.ts";

test("finished ones up to the first unfinished are told by one acknowledgement", () => {
  const window = createAckWindow();
  for (let tag = 1; tag <= 5; tag += 1) window.delivered(tag);
  for (const tag of [2, 1, 4]) assert.equal(window.finish(tag), true);
  assert.deepEqual(window.take(false), { upTo: 2, singles: [] });
  assert.equal(window.waiting, 1);
  assert.deepEqual(window.take(true), { upTo: undefined, singles: [4] });
  assert.equal(window.waiting, 0);
  window.finish(3);
  assert.deepEqual(window.take(false), { upTo: 3, singles: [] });
  window.finish(5);
  assert.deepEqual(window.take(false), { upTo: 5, singles: [] });
});

test("a tag is settled once", () => {
  const window = createAckWindow();
  window.delivered(1);
  window.delivered(2);
  assert.equal(window.finish(1), true);
  assert.equal(window.finish(1), false);
  assert.equal(window.close(1), false);
  assert.equal(window.close(2), true);
  assert.equal(window.finish(2), false);
  assert.equal(window.finish(3), false, "never delivered");
  assert.deepEqual(window.take(true), { upTo: 1, singles: [] });
});

test("what was given back is not acknowledged, and holds up nothing", () => {
  const window = createAckWindow();
  for (let tag = 1; tag <= 3; tag += 1) window.delivered(tag);
  window.close(2);
  window.finish(1);
  window.finish(3);
  assert.deepEqual(window.take(false), { upTo: 3, singles: [] });
});

test("every tag is told once, in whatever order they are finished, over many", () => {
  const window = createAckWindow();
  const told = new Set<number>();
  const open: number[] = [];
  let next = 1;
  let covered = 0;
  let seed = 7;
  const random = (below: number): number => (seed = (seed * 48_271) % 2_147_483_647) % below;
  const tell = (all: boolean): void => {
    const { upTo, singles } = window.take(all);
    for (; covered < (upTo ?? 0); covered += 1) told.add(covered + 1);
    for (const tag of singles) {
      assert(!told.has(tag));
      told.add(tag);
    }
    for (const tag of open) assert(!told.has(tag), `${tag} was told, and is not finished`);
  };
  for (let round = 0; round < 20_000; round += 1) {
    if (open.length < 200) {
      window.delivered(next);
      open.push(next);
      next += 1;
    }
    if (random(3) > 0) {
      const [tag] = open.splice(random(open.length), 1);
      if (tag !== undefined) window.finish(tag);
    }
    if (random(10) === 0) tell(random(4) === 0);
  }
  for (const tag of open.splice(0)) window.finish(tag);
  tell(true);
  assert.equal(told.size, next - 1);
});
