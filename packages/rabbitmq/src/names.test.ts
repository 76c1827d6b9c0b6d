import assert from "node:assert/strict";
import { test } from "node:test";
import { compilePattern } from "@waybill/core";
import { defaultSteps, stepFor } from "./delay-steps.ts";
import { bindingKey, dueKeys, groupKey, queueName } from "./names.ts";

/** As a topic exchange matches: `*` one word, `#` none or more. */
function matches(binding: readonly string[], key: readonly string[]): boolean {
  const [word, ...rest] = binding;
  if (word === undefined) return key.length === 0;
  if (word === "#") return matches(rest, key) || (key.length > 0 && matches(binding, key.slice(1)));
  return key.length > 0 && (word === "*" || word === key[0]) && matches(rest, key.slice(1));
}

test("a pattern binds what it names, and nothing else", () => {
  const topics = ["a", "b", "a.b", "a.c", "a.b.c", "a.b.c.d", "x.a.b"];
  for (const pattern of [">", "a.>", "a.*", "*", "*.b", "a.*.c", "a.b.>", "a", "*.>"]) {
    const wanted = compilePattern(pattern);
    for (const topic of topics)
      assert.equal(matches(bindingKey(pattern).split("."), topic.split(".")), wanted(topic), `${pattern} and ${topic}`);
  }
});

test("no two groups and topics share a queue or a key", () => {
  const pairs = [
    ["a", "b.c"],
    ["a.b", "c"],
    ["a.b.c", "d"],
    ["a", "b.c.d"],
  ] as const;
  for (const make of [queueName, groupKey, dueKeys.group]) {
    assert.equal(new Set(pairs.map(([group, topic]) => make(group, topic))).size, pairs.length);
  }
  assert(!/[*#>]/.test(dueKeys.queue(queueName("g", "a.*.>"))), "a key of one queue fits that queue alone");
});

test("a delay takes the shortest step that is long enough", () => {
  assert.equal(stepFor(0, [10, 100]), 10);
  assert.equal(stepFor(10, [10, 100]), 10);
  assert.equal(stepFor(11, [10, 100]), 100);
  assert.equal(stepFor(101, [10, 100]), undefined);
  assert.deepEqual(
    defaultSteps,
    [...new Set(defaultSteps)].toSorted((a, b) => a - b),
    "ascending, each once",
  );
  for (const wanted of [150, 1_000, 45_000, 90_000, 3_600_000, 86_400_000]) assert.equal(stepFor(wanted, defaultSteps), wanted);
  for (let at = 1; at < defaultSteps.length; at += 1) {
    const [before, step] = [defaultSteps[at - 1] ?? 0, defaultSteps[at] ?? 0];
    if (before >= 1_000) assert(step / before <= 4 / 3 + 1e-9, `${before} and ${step}`);
  }
});
