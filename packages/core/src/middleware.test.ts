import assert from "node:assert/strict";
import { test } from "node:test";
import { isWaybillError } from "./errors.ts";
import type { Middleware } from "./middleware.ts";
import { compose } from "./middleware.ts";

interface Call {
  body: unknown;
  readonly trail: string[];
}
type Step = Middleware<Call, unknown>;

const named =
  (name: string): Step =>
  (call, next) => {
    call.trail.push(`>${name}`);
    const result = next(call);
    call.trail.push(`<${name}`);
    return result;
  };
const call = (): Call => ({ body: 1, trail: [] });
const misuse = (text: string) => (error: unknown) => isWaybillError(error, "CONFIG") && error.message === text;

void test("the first added runs first, and the result comes back through all", () => {
  const run = compose([named("a"), named("b"), named("c")], ({ trail }: Call): unknown => {
    trail.push("last");
    return 42;
  });
  const one = call();
  assert.equal(run(one), 42);
  assert.deepEqual(one.trail, [">a", ">b", ">c", "last", "<c", "<b", "<a"]);
});

void test("none leaves the last function as it is", () => {
  const last = (): unknown => 1;
  assert.equal(compose<Call, unknown>([], last), last);
});

void test("a middleware may answer itself, change what it was given, or give on a copy", () => {
  const seen: unknown[] = [];
  const last = ({ body }: Call): unknown => seen.push(body);
  assert.equal(compose<Call, unknown>([() => "stopped", named("b")], last)(call()), "stopped");
  const change: Step = (one, next) => {
    one.body = 2;
    return next(one);
  };
  const copy: Step = (one, next) => next({ ...one, body: [one.body, 3] });
  compose<Call, unknown>([change, copy, named("c")], last)(call());
  assert.deepEqual(seen, [[2, 3]]);
});

void test("next again throws and does not run the rest, at any place, at once or later", async () => {
  for (const place of [0, 1, 2]) {
    let ran = 0;
    const twice: Step = (one, next) => {
      next(one);
      return next(one);
    };
    const steps = [named("a"), named("b"), named("c")].with(place, twice);
    const run = compose<Call, unknown>(steps, () => (ran += 1));
    for (let n = 1; n <= 3; n++) {
      assert.throws(() => run(call()), misuse(`middleware[${place}] called next() twice`));
      assert.equal(ran, n);
    }
  }
  let ran = 0;
  const late: Step = async (one, next) => {
    await next(one);
    await new Promise((resolve) => setImmediate(resolve));
    return next(one);
  };
  await assert.rejects(
    Promise.resolve(compose<Call, unknown>([late], async () => (ran += 1))(call())),
    misuse("middleware[0] called next() twice"),
  );
  const copies: Step = (one, next) => [next({ ...one }), next({ ...one })];
  assert.throws(() => compose<Call, unknown>([named("a"), copies], () => (ran += 1))(call()), misuse("middleware[1] called next() twice"));
  assert.equal(ran, 2);
});

void test("something of its own is refused", () => {
  const foreign: Step = (_one, next) => next(call());
  assert.throws(
    () => compose<Call, unknown>([foreign], () => assert.fail("ran"))(call()),
    misuse("middleware[0] gave next() something of its own"),
  );
  const nothing: Step = (_one, next) => next(undefined as never);
  assert.throws(
    () => compose<Call, unknown>([nothing], () => assert.fail("ran"))(call()),
    misuse("middleware[0] gave next() something of its own"),
  );
});

void test("many calls on their way do not disturb each other, and one that is over may go in again", async () => {
  const wait: Step = async (one, next) => {
    await new Promise((resolve) => setImmediate(resolve));
    return next(one);
  };
  const run = compose<Call, unknown>([wait, named("b"), wait], async ({ body }) => body);
  const results = await Promise.all(Array.from({ length: 100 }, (_, n) => run({ body: n, trail: [] })));
  assert.deepEqual(
    results,
    Array.from({ length: 100 }, (_, n) => n),
  );
  const one = call();
  assert.equal(await run(one), 1);
  assert.equal(await run(one), 1);
});
