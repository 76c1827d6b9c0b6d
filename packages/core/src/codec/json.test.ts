import assert from "node:assert/strict";
import { test } from "node:test";
import { isWaybillError } from "../errors.ts";
import { json, jsonCodec } from "./json.ts";

const canary = "s3cr3tCanary";
const quiet = (code: "DECODE" | "VALIDATION") => (error: unknown) =>
  isWaybillError(error, code) && error.certainty === "definite" && !error.message.includes("s3cr") && error.cause === undefined;
const bytesOf = (text: string) => new TextEncoder().encode(text);
const decode = (text: string) => json.decode(bytesOf(text));
const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);

void test("what is published is consumed again", () => {
  const values: unknown[] = [
    { id: "o-1", total: 12.5, tags: ["a", "b"], none: null, yes: true, deep: { a: { b: [] } } },
    [],
    {},
    0,
    -1.5,
    "",
    "text",
    true,
    false,
    null,
    [null, [1, [2]]],
    { "": 1, "a.b": 2, 'ä 👩‍🚀 \u2028 \u0000 " \\ \n': 'ä 👩‍🚀 \u2028 \u0000 " \\ \n \\ud800 \\u005f' },
    { constructor: 1, prototype: 2, toString: 3, proto: "__proto__", text: "constructor.prototype __proto__" },
    { constructor: "prototype" },
    { prototype: { constructor: 1 } },
    ["__proto__", { x: ["constructor", "prototype"] }],
    "x".repeat(100_000),
    Array.from({ length: 10_000 }, (_, n) => ({ n })),
  ];
  for (const value of values) assert.deepEqual(json.decode(json.encode(value)), value);
  assert.deepEqual(json.encode({ a: 1 }), Buffer.from('{"a":1}'));
  assert.deepEqual(json.decode(json.encode({ at: new Date(0), gone: undefined })), { at: "1970-01-01T00:00:00.000Z" });
});

void test("what has no JSON form is refused at publish, without its words", () => {
  const cycle: Record<string, unknown> = { [canary]: 1 };
  cycle["self"] = cycle;
  let deep: unknown = canary;
  for (let n = 0; n < 100_000; n++) deep = [deep];
  const throwing = {
    toJSON() {
      throw new Error(canary);
    },
  };
  for (const value of [
    undefined,
    () => canary,
    Symbol(canary),
    1n,
    { [canary]: 1n },
    cycle,
    deep,
    throwing,
    `${canary}\ud800`,
    { [`${canary}\udfff`]: 1 },
  ]) {
    assert.throws(() => json.encode(value), quiet("VALIDATION"));
  }
});

void test("nesting has a cap both ways, and brackets inside texts do not count", () => {
  assert.deepEqual(json.decode(bytesOf(nested(128))), JSON.parse(nested(128)));
  for (const depth of [129, 130, 1_000, 100_000, 200_000]) assert.throws(() => decode(nested(depth)), quiet("DECODE"));
  assert.throws(() => decode('{"a":'.repeat(200_000) + "1" + "}".repeat(200_000)), quiet("DECODE"));
  assert.throws(() => decode("[".repeat(1_000_000)), quiet("DECODE"));
  assert.throws(() => json.encode(JSON.parse(nested(129))), quiet("VALIDATION"));
  for (const text of ["[".repeat(500), '"]]]]"{{{{'.repeat(100), '\\"['.repeat(300), "\\".repeat(301)]) {
    assert.deepEqual(json.decode(json.encode({ text, [text]: 1 })), { text, [text]: 1 });
  }
  assert.throws(() => decode(`["${"]".repeat(400)}",${nested(128)}]`), quiet("DECODE"));
  const flat = jsonCodec({ maxDepth: 1 });
  assert.deepEqual(flat.decode(bytesOf("[1]")), [1]);
  assert.throws(() => flat.decode(bytesOf("[[]]")), quiet("DECODE"));
});

void test("keys that reach for a prototype are refused both ways, however they are written", () => {
  const before = Object.getOwnPropertyNames(Object.prototype).length;
  const hostile = [
    '{"__proto__":{"polluted":1}}',
    '[1,{"a":[{"__proto__":null}]}]',
    '{"\\u005f_proto__":{"polluted":1}}',
    '{"\\u005F\\u005f\\u0070roto__":1}',
    '{"__prot\\u006f__":1}',
    '{"constructor":{"prototype":{"polluted":1}}}',
    '{"a":{"constructor":{"x":1,"prototype":1}}}',
    '{"c\\u006fnstructor":{"prototyp\\u0065":{}}}',
    '{"\\u0063onstructor":{"prototype":{}}}',
    '{"__proto__":1,"__proto__":2}',
  ];
  for (const text of hostile) {
    assert.throws(() => decode(text), quiet("DECODE"), text);
    assert.throws(() => json.encode(JSON.parse(text)), quiet("VALIDATION"), text);
  }
  assert.equal(Object.getOwnPropertyNames(Object.prototype).length, before);
  assert.equal(({} as { polluted?: number }).polluted, undefined);
});

void test("bytes that are no UTF-8 or no JSON are refused without their words", () => {
  const broken = [
    [0xff],
    [0xc0, 0x80],
    [0x22, 0xed, 0xa0, 0x80, 0x22],
    [0x22, 0xf0, 0x9f, 0x22],
    [0x22, 0x80, 0x22],
    [0xfe, 0xff, 0x00, 0x31],
    [0xf4, 0x90, 0x80, 0x80],
  ];
  for (const bytes of broken) assert.throws(() => json.decode(Uint8Array.from(bytes)), quiet("DECODE"));
  for (const text of [
    "",
    " ",
    `{"a": ${canary}`,
    canary,
    "{a:1}",
    "[1,]",
    "01",
    "NaN",
    "undefined",
    "'x'",
    '{"a":1}x',
    "\u0000",
    '"\n"',
    "[1\ufeff]",
  ]) {
    assert.throws(() => decode(text), quiet("DECODE"), text);
  }
});

void test("one byte order mark at the start is skipped; elsewhere it is text", () => {
  assert.deepEqual(decode('\ufeff{"a":"\ufeffb"}'), { a: "\ufeffb" });
  assert.throws(() => decode("\ufeff\ufeff1"), quiet("DECODE"));
});

void test("a lone surrogate that comes as an escape is kept, as JSON allows", () => {
  assert.equal(decode('"\\ud800"'), "\ud800");
});

void test("what JSON changes in silence is documented, and refused when strict", () => {
  assert.deepEqual(json.decode(json.encode([Number.NaN, Infinity, -0, undefined])), [null, null, 0, null]);
  assert.deepEqual(decode('{"a":1,"a":2,"big":9007199254740993,"huge":1e400}'), { a: 2, big: 9007199254740992, huge: Infinity });

  const strict = jsonCodec({ strict: true });
  for (const value of [Number.NaN, { a: [Infinity] }, [-Infinity], { a: -0 }, [undefined], { a: [() => canary] }, [Symbol(canary)]]) {
    assert.throws(() => strict.encode(value), quiet("VALIDATION"));
  }
  assert.deepEqual(strict.decode(strict.encode({ a: undefined, b: [1, "x", null] })), { b: [1, "x", null] });
  const refused = [
    '{"a":1,"a":2}',
    '[{"b":{}},{"a":1,"\\u0061":2}]',
    '{"x":{"a":1},"y":[],"x":1}',
    "9007199254740993",
    "[-9007199254740993]",
    '{"a":1e400}',
    "[1,-1e999]",
    '{"a":"\\"","a":1}',
    '{"a" :1, "a"\n:2}',
  ];
  for (const text of refused) assert.throws(() => strict.decode(bytesOf(text)), quiet("DECODE"), text);
  const fine = [
    '{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}',
    "[9007199254740991,-9007199254740991,1.5,1e3,0.1,-0]",
    '{"a":"a","b":"a: 1e400 {\\"a\\":"}',
    '["a","a"]',
    "-1e-400",
    '{"\\\\":1,"\\"":2}',
  ];
  for (const text of fine) assert.deepEqual(strict.decode(bytesOf(text)), JSON.parse(text));
});

void test("hostile sizes are handled in linear time", { timeout: 20_000 }, () => {
  const keys = `{${Array.from({ length: 300_000 }, (_, n) => `"k${n}":1`).join(",")}}`;
  assert.equal(Object.keys(decode(keys) as object).length, 300_000);
  assert.throws(() => decode('"\\u005f'.repeat(200_000)), quiet("DECODE"));
  assert.equal((decode(`"${"\\\\ud8".repeat(200_000)}"`) as string).length, 800_000);
  const text = "\\ud8".repeat(200_000);
  assert.equal(json.decode(json.encode(text)), text);
});
