import assert from "node:assert/strict";
import { test } from "node:test";
import type { Message } from "@waybill/core";
import type { Part } from "./part.ts";
import { createProgress, type Handle, type Progress, type Standing } from "./progress.ts";

const message = {} as Message;
const part = {} as Part;
const start = (committed: number): Standing => ({ committed, finished: [], notes: [] });

function handOut(progress: Progress, ...offsets: readonly number[]): Handle[] {
  return offsets.map((offset) => progress.handOut(part, offset, message, 10));
}

test("the committed offset is the first unfinished one, in whatever order they are finished", () => {
  const progress = createProgress(start(100));
  const handles = handOut(progress, 100, 101, 102, 103);
  const committed: number[] = [];
  for (const index of [2, 0, 3, 1]) {
    progress.finish(handles[index] as Handle);
    committed.push(progress.committed);
  }
  assert.deepEqual(committed, [100, 101, 101, 104]);
  assert.equal(progress.held, 0);
  assert.equal(progress.heldBytes, 0);
});

test("what is finished above the committed offset is told, and is not handed out to whoever goes on from there", () => {
  const progress = createProgress(start(0));
  const handles = handOut(progress, 0, 1, 2, 3, 4, 5);
  for (const index of [1, 2, 5]) progress.finish(handles[index] as Handle);
  const standing = progress.standing();
  assert.deepEqual(standing, {
    committed: 0,
    finished: [
      { from: 1, to: 3 },
      { from: 5, to: 6 },
    ],
    notes: [],
  });
  const next = createProgress(standing);
  assert.deepEqual(
    [0, 1, 2, 3, 4, 5, 6].filter((offset) => !next.isFinished(offset)),
    [0, 3, 4, 6],
  );
});

test("offsets that hold no message count as finished", () => {
  const progress = createProgress(start(10));
  const [first] = handOut(progress, 10);
  progress.pass(11);
  progress.pass(12);
  const [last] = handOut(progress, 14);
  assert.deepEqual(progress.standing().finished, [{ from: 11, to: 14 }]);
  progress.finish(first as Handle);
  assert.equal(progress.committed, 14);
  progress.finish(last as Handle);
  assert.equal(progress.committed, 15);
});

test("ranges of a former member stay told until they are reached", () => {
  const progress = createProgress({
    committed: 0,
    finished: [
      { from: 2, to: 4 },
      { from: 8, to: 9 },
    ],
    notes: [
      [0, "a"],
      [7, "b"],
    ],
  });
  const [zero] = handOut(progress, 0);
  assert.equal(zero?.note, "a");
  assert.deepEqual(progress.standing(), {
    committed: 0,
    finished: [
      { from: 2, to: 4 },
      { from: 8, to: 9 },
    ],
    notes: [
      [0, "a"],
      [7, "b"],
    ],
  });
  handOut(progress, 1);
  for (const offset of [2, 3]) {
    assert(progress.isFinished(offset));
    progress.pass(offset);
  }
  const [four] = handOut(progress, 4);
  progress.finish(four as Handle);
  assert.deepEqual(progress.standing().finished, [
    { from: 2, to: 5 },
    { from: 8, to: 9 },
  ]);
});

test("what was given back goes out again, oldest first, and the former handing-over settles nothing", () => {
  const progress = createProgress(start(0));
  const [zero, one] = handOut(progress, 0, 1) as [Handle, Handle];
  progress.release(one);
  progress.release(zero);
  assert.equal(progress.held, 0);
  assert.equal(progress.released(), zero);
  const again = progress.handOutAgain(zero);
  assert.notEqual(again, zero);
  assert.equal(zero.held, false);
  assert.equal(progress.held, 1);
  assert.equal(progress.released(), one);
  progress.finish(again);
  assert.equal(progress.committed, 1);
  progress.finish(progress.handOutAgain(one));
  assert.equal(progress.committed, 2);
});

test("a note is told until its message is finished", () => {
  const progress = createProgress(start(5));
  const [handle] = handOut(progress, 5) as [Handle];
  const before = progress.version;
  progress.note(handle, "tried once");
  assert(progress.version > before);
  assert.deepEqual(progress.standing().notes, [[5, "tried once"]]);
  progress.finish(handle);
  assert.deepEqual(progress.standing().notes, []);
});

test("what a transaction takes along counts only for what is written with it", () => {
  const progress = createProgress(start(0));
  const [zero, one] = handOut(progress, 0, 1) as [Handle, Handle];
  assert.deepEqual(progress.standing(new Set([zero])), { committed: 1, finished: [], notes: [] });
  assert.deepEqual(progress.standing(new Set([one])), { committed: 0, finished: [{ from: 1, to: 2 }], notes: [] });
  assert.equal(progress.committed, 0);
});

test("thousands of finished ones leave nothing behind", () => {
  const progress = createProgress(start(0));
  for (let offset = 0; offset < 5_000; offset += 1) {
    const [handle] = handOut(progress, offset) as [Handle];
    progress.finish(handle);
  }
  assert.deepEqual(progress.standing(), { committed: 5_000, finished: [], notes: [] });
});
