import assert from "node:assert/strict";
import { test } from "node:test";
import { createTurns } from "./turns.ts";

const never = new AbortController().signal;

test("one at a time, in the order of asking; ending a turn twice is harmless", async () => {
  const turns = createTurns();
  const order: number[] = [];
  const first = await turns.take(never);
  const others = [1, 2, 3].map(async (at) => {
    const end = await turns.take(never);
    order.push(at);
    end();
    end();
  });
  assert.deepEqual(order, []);
  first();
  first();
  await Promise.all(others);
  assert.deepEqual(order, [1, 2, 3]);
  (await turns.take(never))();
});

test("whoever gives up leaves the row, and holds up nobody", async () => {
  const turns = createTurns();
  const first = await turns.take(never);
  const impatient = new AbortController();
  const gone = turns.take(impatient.signal);
  const last = turns.take(never);
  impatient.abort();
  await assert.rejects(gone, { code: "ABORTED" });
  await assert.rejects(turns.take(AbortSignal.abort()), { code: "ABORTED" });
  first();
  (await last)();
});
