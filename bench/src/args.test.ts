import assert from "node:assert/strict";
import { test } from "node:test";
import { readArgs, UsageError } from "./args.ts";

const names = ["memory-publish", "embedded-both"];

test("without options everything runs, for people", () => {
  assert.deepEqual(readArgs([], names), { json: false, only: [], rounds: undefined, quick: false, help: false });
});

test("options are read in both spellings", () => {
  const args = readArgs(["--json", "--only", "embedded-both", "--only=memory-publish", "--rounds=7", "--quick"], names);
  assert.deepEqual(args, { json: true, only: ["embedded-both", "memory-publish"], rounds: 7, quick: true, help: false });
});

for (const [args, text] of [
  [["--jsn"], /unknown option --jsn/],
  [["extra"], /unknown option extra/],
  [["--only", "memory"], /--only memory: expected one of memory-publish, embedded-both/],
  [["--only"], /--only : expected one of/],
  [["--rounds", "0"], /--rounds 0: expected a whole number from 1 to 100/],
  [["--rounds", "1.5"], /--rounds 1\.5/],
  [["--rounds", "--json"], /--rounds --json/],
  [["--rounds"], /--rounds : expected/],
] as const) {
  test(`refused: ${args.join(" ")}`, () => {
    assert.throws(
      () => readArgs(args, names),
      (error) => error instanceof UsageError && text.test(error.message),
    );
  });
}
