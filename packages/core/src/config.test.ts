import assert from "node:assert/strict";
import { test } from "node:test";
import type { SpecFor } from "./config.ts";
import { assertOptions, checkOptions, profiles } from "./config.ts";
import { WaybillError } from "./errors.ts";

interface Options {
  readonly url: string;
  readonly password?: string;
  readonly attempts?: number;
  readonly timeout?: string | number;
  readonly mode?: "declare" | "check";
  readonly retry?: boolean | { readonly max: number };
  readonly onEvent?: () => void;
  readonly topics?: readonly string[];
  readonly labels?: Readonly<Record<string, number>>;
  readonly since?: Date;
  readonly store?: { open(): void };
  readonly extra?: unknown;
}

const spec: SpecFor<Options> = {
  url: { type: "string", required: true, minLength: 1 },
  password: { type: "string", secret: true, minLength: 4 },
  attempts: { type: "integer", min: 1, max: 10 },
  timeout: { type: "duration", max: 60_000 },
  mode: { type: "enum", values: ["declare", "check"] },
  retry: {
    type: "either",
    of: [{ type: "boolean" }, { type: "object", keys: { max: { type: "number", min: 0, required: true } } }],
  },
  onEvent: { type: "function" },
  topics: { type: "array", of: { type: "string" }, maxLength: 3 },
  labels: { type: "record", of: { type: "integer" } },
  since: { type: "instance", of: Date, name: "a Date" },
  store: { type: "shape", methods: ["open"], name: "a store" },
  extra: { type: "any" },
};

function problems(value: unknown): string[] {
  return checkOptions(value, spec, "bus").map(({ path, expected, found }) => `${path} | ${expected} | ${found}`);
}

void test("what fits has no problem, and undefined is absent", () => {
  assert.deepEqual(problems({ url: "x" }), []);
  const all = {
    url: "x",
    password: "abcd",
    attempts: 10,
    timeout: "1m",
    mode: "check",
    retry: { max: 0.5 },
    onEvent() {},
    topics: ["a", "b"],
    labels: { a: 1 },
    since: new Date(0),
    store: { open() {} },
    extra: Symbol("x"),
  };
  assert.deepEqual(problems(all), []);
  assert.deepEqual(problems({ url: "x", retry: true, attempts: undefined, mode: undefined }), []);
});

void test("every wrong path is told at once, with what was expected and the kind that was found", () => {
  const wrong = {
    password: "abc",
    attempts: 0,
    timeout: "2m",
    mode: "chekc",
    retry: { max: -1, min: 2 },
    onEvent: "x",
    topics: ["a", 2],
    labels: { a: 1, "b c": "1" },
    since: "today",
    store: {},
    atempts: 3,
  };
  assert.deepEqual(problems(wrong), [
    "bus.atempts | no such key (did you mean attempts?) | a number",
    "bus.url | a string that is not empty | nothing",
    "bus.password | a string of at least 4 characters | a string",
    "bus.attempts | an integer from 1 to 10 | the number 0",
    'bus.timeout | a duration such as "30s", or milliseconds, at most 60000 ms | a string (length 2)',
    'bus.mode | "declare" or "check" (did you mean check?) | a string (length 5)',
    "bus.retry.min | one of the keys max | a number",
    "bus.retry.max | a number of at least 0 | the number -1",
    "bus.onEvent | a function | a string (length 1)",
    "bus.topics[1] | a string | the number 2",
    'bus.labels["b c"] | an integer | a string (length 1)',
    "bus.since | a Date | a string (length 5)",
    "bus.store | a store | an object",
  ]);
  assert.throws(
    () => assertOptions(wrong, spec, "bus"),
    (error) => {
      assert.ok(error instanceof WaybillError && error.code === "CONFIG");
      assert.match(error.message, /^13 options are wrong:\n {2}bus\.atempts: expected no such key/);
      return true;
    },
  );
});

void test("one problem is one line", () => {
  assert.throws(() => assertOptions({ url: "" }, spec, "bus"), {
    message: "bus.url: expected a string that is not empty, found an empty string",
  });
});

void test("no value of a string or of an unknown key is shown", () => {
  const canary = "s3cr3t-canary";
  const wrong = {
    url: 5,
    passwrd: canary,
    mode: canary,
    timeout: canary,
    since: canary,
    retry: canary,
    topics: canary,
    labels: [canary],
    onEvent: canary,
  };
  assert.ok(checkOptions(wrong, spec, "bus").length >= 9);
  assert.ok(!JSON.stringify(problems(wrong)).includes(canary));
});

void test("odd roots, keys and values are told, not thrown", () => {
  for (const root of [undefined, null, 5, "x", [], () => {}]) assert.equal(checkOptions(root, spec, "bus")[0]?.expected, "an object");
  const own = JSON.parse('{"url":"x","__proto__":1,"constructor":2,"a\\u001b[31m\\n":3}') as object;
  assert.deepEqual(
    checkOptions(own, spec, "bus").map(({ path }) => path),
    ["bus.__proto__", "bus.constructor", 'bus["a\\u001b[31m\\n"]'],
  );
  for (const value of [Number.NaN, Infinity, 1.5, 2n, Symbol("x"), "3", null])
    assert.equal(problems({ url: "x", attempts: value }).length, 1, String(value));
  assert.equal(problems({ ["x".repeat(100_000)]: 1, url: "x" }).length, 1);
});

void test("an unknown key with no near one lists the known keys", () => {
  assert.deepEqual(checkOptions({ zzzzzzzz: 1 }, { alpha: { type: "any" }, beta: { type: "any" } }, "o"), [
    { path: "o.zzzzzzzz", expected: "one of the keys alpha, beta", found: "a number" },
  ]);
});

void test("profiles", () => {
  const rows = Object.entries(profiles).map(([name, p]) => [name, p.connectTimeoutMs, p.retryAttempts, p.batchSize, p.maxConnections]);
  assert.deepEqual(rows, [
    ["development", 5_000, 3, 100, 10],
    ["production", 30_000, 5, 1_000, 50],
    ["testing", 1_000, 1, 10, 2],
  ]);
});
