import assert from "node:assert/strict";
import { test } from "node:test";
import { compilePattern } from "../pattern.ts";
import { covers, overlaps } from "./overlap.ts";

/** Every pattern of up to three tokens against every topic of up to four: what the two functions say must be what matching shows. */
void test("overlap and cover agree with matching", () => {
  const words = ["a", "b"];
  const topics = lists(words, 4).map((tokens) => tokens.join("."));
  const patterns = lists([...words, "*"], 3).flatMap((tokens) => [tokens.join("."), [...tokens, ">"].join(".")]);
  patterns.push(">");
  for (const one of patterns) {
    const matchesOne = compilePattern(one);
    for (const other of patterns) {
      const matchesOther = compilePattern(other);
      assert.equal(
        overlaps(one, other),
        topics.some((topic) => matchesOne(topic) && matchesOther(topic)),
        `${one} overlaps ${other}`,
      );
      // A topic of more tokens could tell two patterns apart that these do not: only what they do tell is asked.
      if (covers(one, other))
        assert.ok(
          topics.every((topic) => !matchesOther(topic) || matchesOne(topic)),
          `${one} covers ${other}`,
        );
    }
  }
  assert.deepEqual(
    [covers("a.>", "a.*"), covers("a.*", "a.>"), covers(">", "a.>"), covers("*.b", "a.b"), covers("a.b", "*.b"), covers("a.>", "a")],
    [true, false, true, true, false, false],
  );
});

function lists(words: readonly string[], longest: number): string[][] {
  const all: string[][] = [];
  let last: string[][] = [[]];
  for (let length = 1; length <= longest; length += 1) {
    last = last.flatMap((tokens) => words.map((word) => [...tokens, word]));
    all.push(...last);
  }
  return all;
}
