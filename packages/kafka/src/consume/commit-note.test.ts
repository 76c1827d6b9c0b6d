import assert from "node:assert/strict";
import { test } from "node:test";
import { maxNoteBytes, readCommitNote, writeCommitNote } from "./commit-note.ts";

test("what is written is read again", () => {
  const standing = {
    committed: 1_000,
    finished: [
      { from: 1_002, to: 1_003 },
      { from: 1_010, to: 1_050 },
    ],
    notes: [
      [1_000, "1 2 3 4"],
      [1_004, 'with "quotes" and ü'],
    ] as const,
  };
  const text = writeCommitNote("me", 1_100, standing);
  assert.deepEqual(readCommitNote(1_000, text ?? null), { by: "me", openBelow: 1_100, finished: standing.finished, notes: standing.notes });
});

test("given back in good order, nobody has anything of it", () => {
  const text = writeCommitNote("me", undefined, { committed: 7, finished: [], notes: [] });
  assert.equal(text, '{"w":1,"by":"me"}');
  assert.equal(readCommitNote(7, text ?? null)?.openBelow, undefined);
});

test("what other clients write is no note", () => {
  for (const text of [
    null,
    "",
    "some text",
    "{}",
    '{"w":2}',
    '{"w":1,',
    '{"w":1,"by":3}',
    '{"w":1,"by":"x","open":-1}',
    '{"w":1,"by":"x","open":"y"}',
  ])
    assert.equal(readCommitNote(1, text), undefined, String(text));
  assert.deepEqual(readCommitNote(1, '{"w":1,"by":"x","done":[1,"a"],"notes":[[1],[2,3],[0,"n"]]}'), {
    by: "x",
    openBelow: undefined,
    finished: [],
    notes: [[1, "n"]],
  });
});

test("it never outgrows what the server takes, and leaves out the farthest first", () => {
  const finished = Array.from({ length: 3_000 }, (_, index) => ({ from: index * 3, to: index * 3 + 1 }));
  const text = writeCommitNote("me", 9_000, { committed: 0, finished, notes: [[0, "x".repeat(1_024)]] }) ?? "";
  assert(Buffer.byteLength(text) <= maxNoteBytes);
  const read = readCommitNote(0, text);
  assert.equal(read?.notes.length, 1);
  assert(read !== undefined && read.finished.length > 100);
  assert.deepEqual(read?.finished, finished.slice(0, read?.finished.length));
  assert.equal(writeCommitNote("me", 1, { committed: 0, finished: [], notes: [[0, "x".repeat(5_000)]] }), undefined);
});
