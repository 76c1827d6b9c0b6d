import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { createIds } from "./id.ts";

const form = /^[0-9a-hjkmnp-tv-z]{28}$/;

void test("ids are 28 characters of the alphabet and never repeat", () => {
  const next = createIds();
  const seen = new Set<string>();
  for (let n = 0; n < 200_000; n++) seen.add(next());
  assert.equal(seen.size, 200_000);
  for (const id of seen) assert.match(id, form);
});

void test("ids of one source sort by the order they were made in", () => {
  let ms = 1_700_000_000_000;
  const next = createIds({ now: () => ms });
  const made: string[] = [];
  for (let n = 0; n < 5_000; n++) {
    if (n % 7 === 0) ms += n % 3;
    made.push(next());
  }
  assert.deepEqual(made.toSorted(), made);
});

void test("the random part is drawn anew each millisecond and after 32,768 ids", () => {
  let draws = 0;
  let ms = 5;
  const next = createIds({
    now: () => ms,
    random: (into) => {
      draws += 1;
      into.fill(draws);
    },
  });
  const seen = new Set<string>();
  for (let n = 0; n < 32_768; n++) seen.add(next());
  assert.equal(draws, 1);
  seen.add(next());
  assert.equal(draws, 2);
  ms = 6;
  seen.add(next());
  // A clock set back is but another millisecond.
  ms = 5;
  seen.add(next());
  seen.add(next(4));
  assert.equal(draws, 5);
  assert.equal(seen.size, 32_772);
});

void test("a clone with the same memory goes its own way when the next millisecond begins", () => {
  let ms = 1;
  const state = (kernel: number) => createIds({ now: () => ms, random: (into) => into.fill(ms === 1 ? 0 : kernel) });
  const [original, clone] = [state(1), state(2)];
  assert.equal(original(), clone());
  ms = 2;
  assert.notEqual(original(), clone());
});

void test("workers started together make different ids", { timeout: 60_000 }, async () => {
  const source = `
    const { parentPort } = require("node:worker_threads");
    import(${JSON.stringify(new URL("id.ts", import.meta.url).href)}).then(({ createIds }) => {
      const next = createIds();
      parentPort.postMessage(Array.from({ length: 20000 }, () => next()));
    });`;
  const workers = Array.from({ length: 4 }, () => new Worker(source, { eval: true }));
  const lists = await Promise.all(workers.map(async (worker) => (await once(worker, "message"))[0] as string[]));
  await Promise.all(workers.map((worker) => worker.terminate()));
  assert.equal(new Set(lists.flat()).size, 80_000);
});

void test("the time is readable back to the millisecond", () => {
  const digits = "0123456789abcdefghjkmnpqrstvwxyz";
  for (const ms of [0, 1, 1_795_252_963_611, 2 ** 45 - 1]) {
    const id = createIds()(ms);
    let read = 0;
    for (let at = 0; at < 9; at++) read = read * 32 + digits.indexOf(id.charAt(at));
    assert.equal(read, ms);
  }
});
