import assert from "node:assert/strict";
import { test } from "node:test";
import { isWaybillError } from "./errors.ts";
import { checkGroup, checkPattern, checkTopic, compilePattern, hasWildcard } from "./pattern.ts";

const refused = (error: unknown) => isWaybillError(error, "NAME");

void test("good names pass", () => {
  for (const name of [
    "a",
    "order.placed",
    "Order_2.placed-now.v1",
    "a.b.c.d.e",
    "x".repeat(255),
    "amqp.x",
    "_x",
    "waybills",
    "a.__b",
    "a.amq",
  ]) {
    checkTopic(name);
    checkGroup(name);
    checkPattern(name);
  }
});

void test("bad names are refused, whatever they are", () => {
  const bad: unknown[] = [
    "",
    ".",
    "..",
    "a.",
    ".a",
    "a..b",
    "../x",
    "a b",
    "a\r\nb",
    "a\u0000",
    "a/b",
    "a:b",
    "$JS.API",
    "$SYS",
    "#",
    "a.#",
    "ä",
    "a\u2028",
    "x".repeat(256),
    "x".repeat(10_000_000),
    undefined,
    null,
    5,
    {},
    [],
    ["a"],
    Symbol("a"),
    Object.create(null),
    "*",
    ">",
    "a.*",
    "a.>",
  ];
  for (const name of bad) {
    assert.throws(() => checkTopic(name as string), refused);
    assert.throws(() => checkGroup(name as string), refused);
  }
});

void test("the error tells the kind, the place and nothing that breaks a line", () => {
  assert.throws(() => checkTopic("order\n.x"), { message: 'topic "order\\n.x" has a character that is not allowed at 5' });
  assert.throws(() => checkGroup("a..b"), { message: 'group "a..b" has an empty token' });
  assert.throws(() => checkPattern("a.>.b"), { message: `pattern "a.>.b" has a '>' that is not the last token` });
  assert.throws(() => checkPattern("a.b*"), { message: 'pattern "a.b*" has a wildcard at 3 that is not a token of its own' });
});

void test("reserved first tokens are refused unless asked for", () => {
  for (const name of ["amq.topic", "AMQ.x", "__consumer_offsets", "dead-letters.billing.order.placed", "waybill.reply", "waybill", "amq"]) {
    assert.throws(() => checkTopic(name), refused);
    assert.throws(() => checkGroup(name), refused);
    checkTopic(name, { allowReserved: true });
    checkPattern(name);
  }
});

void test("patterns", () => {
  for (const good of ["*", ">", "a.*", "*.a", "a.>", "a.*.b.>", "*.*.*"]) checkPattern(good);
  for (const bad of ["", "**", "a*", "*a", ">>", ">.a", "a.>b", "a.#", "a..*", "*.", ".>"])
    assert.throws(() => checkPattern(bad), refused, bad);
  assert.deepEqual(["a.b", "a.*", ">", "a.>"].map(hasWildcard), [false, true, true, true]);
});

void test("matching", () => {
  const rows: [string, string[], string[]][] = [
    ["a.b", ["a.b"], ["a", "a.b.c", "a.bb", "ab", "A.b"]],
    ["*", ["a", "order"], ["a.b", ""]],
    [">", ["a", "a.b", "a.b.c"], [""]],
    ["a.*", ["a.b", "a.long-token"], ["a", "a.", "a.b.c", "b.a", "ab.c"]],
    ["a.>", ["a.b", "a.b.c"], ["a", "a.", "ab.c", "b.a.b"]],
    ["*.b.*", ["a.b.c", "x.b.y"], ["a.b", "a.c.b", "a.b.c.d", "a.bb.c"]],
    ["*.>", ["a.b", "a.b.c"], ["a", ""]],
    ["a.*.c.>", ["a.b.c.d", "a.b.c.d.e"], ["a.b.c", "a.c.d", "a.b.d.c"]],
  ];
  for (const [pattern, yes, no] of rows) {
    const matches = compilePattern(pattern);
    for (const topic of yes) assert.equal(matches(topic), true, `${pattern} ${topic}`);
    for (const topic of no) assert.equal(matches(topic), false, `${pattern} ${topic}`);
  }
  assert.throws(() => compilePattern("a.>.b"), refused);
});

void test("matching agrees with a plain definition on all short topics", () => {
  const tokens = ["a", "b", "*", ">"];
  const topics: string[] = [];
  const patterns: string[] = [];
  const grow = (from: string[], alphabet: string[], into: string[]): string[] => {
    const next = from.flatMap((head) => alphabet.map((token) => (head === "" ? token : `${head}.${token}`)));
    into.push(...next);
    return next;
  };
  let [left, right] = [[""], [""]];
  for (let length = 1; length <= 4; length++) {
    left = grow(left, ["a", "b"], topics);
    right = grow(right, tokens, patterns);
  }
  const plain = (pattern: string[], topic: string[]): boolean => {
    const [head, ...tail] = pattern;
    if (head === undefined) return topic.length === 0;
    if (head === ">") return topic.length > 0;
    return topic.length > 0 && (head === "*" || head === topic[0]) && plain(tail, topic.slice(1));
  };
  let compared = 0;
  for (const pattern of patterns) {
    if (pattern.slice(0, -1).includes(">")) continue;
    const matches = compilePattern(pattern);
    for (const topic of topics) {
      assert.equal(matches(topic), plain(pattern.split("."), topic.split(".")), `${pattern} ${topic}`);
      compared += 1;
    }
  }
  assert.ok(compared > 4_000, String(compared));
});

void test("no topic makes matching slow", { timeout: 5_000 }, () => {
  const matches = compilePattern(`${"*.".repeat(100)}a`);
  const topic = "a.".repeat(500_000) + "b";
  for (let n = 0; n < 100; n++) assert.equal(matches(topic), false);
});
