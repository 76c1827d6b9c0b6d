import assert from "node:assert/strict";
import { test } from "node:test";
import { isWaybillError, WaybillError } from "./errors.ts";
import type { RetryStrategy } from "./retry.ts";
import { checkRetry, delayAfter, exponential, fixed, isFinal, linear } from "./retry.ts";

const delaysOf = (strategy: RetryStrategy) => [1, 2, 3, 4, 5, 6].map((attempt) => strategy.delayMs(attempt));
const config = (path: string) => (error: unknown) => isWaybillError(error, "CONFIG") && error.message.includes(path);

void test("exponential grows by its factor up to its max", () => {
  const doubling = exponential({ base: "200ms", max: "3s", jitter: "none" });
  assert.deepEqual(delaysOf(doubling), [200, 400, 800, 1_600, 3_000, 3_000]);
  const tripling = exponential({ base: 10, max: "1h", factor: 3, jitter: "none" });
  assert.deepEqual(delaysOf(tripling), [10, 30, 90, 270, 810, 2_430]);
  assert.equal(doubling.delayMs(1e9), 3_000);
  for (const unknown of [0, -1, Number.NaN]) assert.equal(doubling.delayMs(unknown), 200);
});

void test("linear grows by its step up to its max", () => {
  assert.deepEqual(delaysOf(linear({ base: "1s", max: "4s", jitter: "none" })), [1_000, 2_000, 3_000, 4_000, 4_000, 4_000]);
  assert.deepEqual(delaysOf(linear({ base: 100, step: 50, max: "1m", jitter: "none" })), [100, 150, 200, 250, 300, 350]);
});

void test("fixed stays", () => {
  assert.deepEqual(delaysOf(fixed("5s")), Array(6).fill(5_000));
});

void test("jitter spreads over the range that it names", () => {
  const at = (jitter: "full" | "equal" | number, r: number) => exponential({ base: 100, max: 150, jitter, random: () => r });
  assert.deepEqual([at("full", 0).delayMs(1), at("full", 0.5).delayMs(1)], [0, 50]);
  assert.deepEqual([at("equal", 0).delayMs(1), at("equal", 0.5).delayMs(1)], [50, 75]);
  assert.deepEqual([at(0.25, 0).delayMs(1), at(0.25, 0.5).delayMs(1)], [75, 100]);
  assert.equal(at(1, 0.999).delayMs(2), 150, "never above max");
  assert.deepEqual(
    [fixed(100, { jitter: 0.5, random: () => 0 }).delayMs(1), fixed(100, { jitter: 0.5, random: () => 0.75 }).delayMs(1)],
    [50, 125],
  );
});

void test("without a word exponential and linear never retry at once and never all together", () => {
  for (const strategy of [exponential({ base: "1s", max: "1m" }), linear({ base: "1s", max: "1m" })]) {
    const delays = Array.from({ length: 1_000 }, () => strategy.delayMs(1));
    assert.ok(delays.every((delay) => delay >= 500 && delay <= 1_000));
    assert.ok(new Set(delays).size > 900);
  }
});

void test("wrong strategies are refused with their path", () => {
  assert.throws(() => exponential({ base: "x", max: "1m" }), config("exponential.base"));
  assert.throws(() => exponential({ base: "2m", max: "1m" }), config("exponential.max"));
  assert.throws(() => exponential({ base: 1, max: 2, factor: 0.5 }), config("exponential.factor"));
  assert.throws(() => exponential({ base: 1, max: 2, jitter: 2 }), config("exponential.jitter"));
  assert.throws(() => exponential({ base: 1, max: 2, jiter: "full" } as never), config("did you mean jitter?"));
  assert.throws(() => linear({ base: 1, step: -1, max: 2 }), config("linear.step"));
  assert.throws(() => linear({ base: 1 } as never), config("linear.max"));
  assert.throws(() => fixed("soon"), config("fixed.delay"));
  assert.throws(() => fixed(1, { random: 4 } as never), config("fixed.random"));
});

void test("a policy has every value decided", () => {
  const policy = checkRetry({}, "retry", { attempts: 3 });
  assert.equal(policy.attempts, 3);
  assert.equal(policy.deadLetter, true);
  assert.deepEqual(policy.never, []);
  assert.equal(policy.only, undefined);
  assert.equal(policy.inProcess, false);
  assert.ok(policy.backoff.delayMs(1) >= 100);
  assert.equal(checkRetry({ inProcess: true }, "retry", { attempts: 1 }).inProcess, true);
  assert.equal(checkRetry({ attempts: 7 }, "retry", { attempts: 3 }).attempts, 7);
});

void test("a wrong policy lists every wrong path at once", () => {
  const wrong = { attempts: 0, backoff: { base: 1 }, never: ["VALIDATE"], only: "HANDLER", inProcess: "x", deadLeter: true };
  assert.throws(
    () => checkRetry(wrong as never, "subscribe.retry", { attempts: 3 }),
    (error) => {
      assert.ok(isWaybillError(error, "CONFIG"));
      for (const path of ["attempts", "backoff", "never[0]", "only", "inProcess", "deadLeter"])
        assert.ok(error.message.includes(`subscribe.retry.${path}`), path);
      assert.match(error.message, /did you mean deadLetter\?/);
      return true;
    },
  );
});

class CardRefused extends Error {}
class Busy extends Error {}

void test("never and only decide what is final", () => {
  const never = checkRetry({ never: [CardRefused, "REMOTE"] }, "retry", { attempts: 3 });
  assert.equal(isFinal(never, new CardRefused()), true);
  assert.equal(isFinal(never, new WaybillError("REMOTE", "x")), true);
  assert.equal(isFinal(never, new Busy()), false);
  const only = checkRetry({ only: [Busy, "VALIDATION"], never: [CardRefused] }, "retry", { attempts: 3 });
  assert.equal(isFinal(only, new Busy()), false);
  assert.equal(isFinal(only, new Error("other")), true);
  assert.equal(isFinal(only, new WaybillError("VALIDATION", "x")), false);
  assert.equal(isFinal(only, undefined), true);
});

void test("by itself only what the message is to blame for is final", () => {
  const policy = checkRetry({}, "retry", { attempts: 3 });
  for (const code of ["DECODE", "VALIDATION", "UNKNOWN_TYPE", "UNKNOWN_VERSION", "DEAD_LETTER"] as const) {
    assert.equal(isFinal(policy, new WaybillError(code, "x")), true, code);
  }
  // A bus that is closing or a broker that refuses says nothing about the message.
  for (const code of ["CLOSED", "AUTH", "TRANSPORT", "HANDLER_TIMEOUT", "STALE_ATTEMPT"] as const) {
    assert.equal(isFinal(policy, new WaybillError(code, "x")), false, code);
  }
});

void test("whatever was thrown can be judged", () => {
  const hostile = new Proxy(new CardRefused(), {
    get() {
      throw new Error("get");
    },
    getPrototypeOf() {
      throw new Error("getPrototypeOf");
    },
  });
  const getters = Object.freeze(
    Object.defineProperty(new Error("x"), "code", {
      get() {
        throw new Error("code");
      },
    }),
  );
  class Hostile extends Error {}
  Object.defineProperty(Hostile, Symbol.hasInstance, {
    value: () => {
      throw new Error("hasInstance");
    },
  });
  const policy = checkRetry({ never: [CardRefused, Hostile, "VALIDATION"] }, "retry", { attempts: 3 });
  for (const thrown of [undefined, null, 0, "x", Symbol("x"), Object.freeze({}), hostile, getters, () => {}, 1n, Object.create(null)]) {
    assert.equal(isFinal(policy, thrown), false);
  }
});

void test("a strategy of the user's own can do no harm", () => {
  const policyOf = (delayMs: (attempt: number) => unknown) =>
    checkRetry({ backoff: { delayMs } as RetryStrategy }, "retry", { attempts: 3 });
  for (const wrong of [-5, Number.NaN, undefined, "soon", null])
    assert.equal(
      delayAfter(
        policyOf(() => wrong),
        1,
      ),
      1_000,
    );
  assert.equal(
    delayAfter(
      policyOf(() => Infinity),
      1,
    ),
    365 * 86_400_000,
  );
  assert.equal(
    delayAfter(
      policyOf((attempt) => attempt * 10),
      3,
    ),
    30,
  );
  const throws = policyOf(() => {
    throw new Error("x");
  });
  assert.equal(delayAfter(throws, 1), 1_000);
});
