import assert from "node:assert/strict";
import { test } from "node:test";
import { Order } from "./contracts.ts";
import { expectedCause, fateOf, hash, orderOf, randomOf } from "./seed.ts";

test("the same seed gives the same orders and fates, another seed others", () => {
  const ids = Array.from({ length: 1000 }, (_, index) => orderOf(7, index).id);
  assert.deepEqual(orderOf(7, 12), orderOf(7, 12));
  assert.equal(new Set(ids).size, 1000);
  const fates = (seed: number): string => ids.map((id) => fateOf(seed, id).kind).join();
  assert.equal(fates(7), fates(7));
  assert.notEqual(fates(7), fates(8));
});

test("generated orders fit their schema", () => {
  for (let index = 0; index < 200; index++) assert.deepEqual(Order.parse(orderOf(3, index)), orderOf(3, index));
});

test("hash and fates stay what they are: old data must be audited the same way", () => {
  assert.deepEqual([hash("waybill", 0), hash("waybill", 1), hash("order", 0)], [3_117_300_869, 4_019_899_424, 1_640_259_148]);
});

test("every fate is met, in about its share, in any 300 orders and more", () => {
  for (const seed of [1, 7, 4_294_967_295]) {
    const counts: Record<string, number> = {};
    for (let index = 0; index < 20_000; index++) {
      const { kind } = fateOf(seed, orderOf(seed, index).id);
      counts[kind] = (counts[kind] ?? 0) + 1;
    }
    for (const [kind, share] of [
      ["refused", 160],
      ["fraud", 120],
      ["unreachable", 120],
      ["transient", 1200],
    ] as const) {
      assert.ok(Math.abs((counts[kind] ?? 0) - share) < share * 0.4, `seed ${seed}: ${kind} ${counts[kind]}`);
    }
  }
});

test("what fails for good has an expected cause, all else has none", () => {
  for (let index = 0; index < 2000; index++) {
    const { id } = orderOf(1, index);
    const final = ["refused", "fraud", "unreachable"].includes(fateOf(1, id).kind);
    assert.equal(expectedCause(1, id) !== undefined, final);
  }
});

test("the random stream is the seed's", () => {
  const [a, b, c] = [randomOf(5), randomOf(5), randomOf(6)];
  const first = Array.from({ length: 50 }, () => a());
  assert.deepEqual(
    first,
    Array.from({ length: 50 }, () => b()),
  );
  assert.notDeepEqual(
    first,
    Array.from({ length: 50 }, () => c()),
  );
  assert.ok(first.every((value) => value >= 0 && value < 1));
});
