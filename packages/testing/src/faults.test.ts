import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { event } from "@waybill/core";
import { testBus } from "./test-bus.ts";

const Placed = event<{ id: string }>("order.placed", { key: ({ id }) => id });

describe("faults", () => {
  async function run(faults: object, seed = 7): Promise<{ ids: string[]; times: number[] }> {
    const ids: string[] = [];
    await using t = await testBus((bus) => void bus.subscribe(Placed, { group: "g", concurrency: 1 }, ({ id }) => void ids.push(id)), {
      seed,
      faults,
    });
    for (let n = 0; n < 20; n += 1) await t.publish(Placed, { id: String(n) });
    await t.advance("1m");
    return { ids, times: t.published(Placed).map(({ times }) => times) };
  }
  const inOrder = Array.from({ length: 20 }, (_, n) => String(n));

  test("duplicates: the same id twice", async () => {
    const { ids, times } = await run({ duplicates: 0.3 });
    assert.ok(ids.length > 20 && times.includes(2) && times.includes(1));
    assert.deepEqual([...new Set(ids)], inOrder);
  });
  test("reorder: all come, in another order", async () => {
    const { ids } = await run({ reorder: 0.3 });
    assert.notDeepEqual(ids, inOrder);
    assert.deepEqual(new Set(ids), new Set(inOrder));
    assert.equal(ids.length, 20);
  });
  test("delay: all come, some later", async () => {
    const { ids } = await run({ delay: 0.3, maxDelay: "10s" });
    assert.notDeepEqual(ids, inOrder);
    assert.equal(new Set(ids).size, 20);
  });
  test("crashes by chance, and then no more", async () => {
    const { ids } = await run({ crash: 0.05, maxCrashes: 2 });
    assert.deepEqual(new Set(ids), new Set(inOrder));
  });
  test("one seed, one history", async () => {
    const faults = { duplicates: 0.3, reorder: 0.3, delay: 0.3 };
    assert.deepEqual(await run(faults, 3), await run(faults, 3));
    assert.notDeepEqual(await run(faults, 3), await run(faults, 4));
  });
  test("order by key is not broken, only held up", async () => {
    const seen: number[] = [];
    const Keyed = event<number>("keyed", { key: () => "one" });
    await using t = await testBus(
      (bus) => void bus.subscribe(Keyed, { group: "g", orderBy: "key", concurrency: 4 }, (n) => void seen.push(n)),
      { seed: 1, faults: { delay: 0.5, reorder: 0.5 } },
    );
    for (let n = 0; n < 20; n += 1) await t.publish(Keyed, n);
    await t.idle();
    assert.ok(seen.length < 20, "some were held up");
    await t.advance("5m");
    assert.deepEqual(
      seen,
      Array.from({ length: 20 }, (_, n) => n),
    );
  });
});
