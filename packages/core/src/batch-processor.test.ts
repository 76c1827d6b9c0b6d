import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import type { BatchProcessorOptions } from "./batch-processor.ts";
import { createBatchProcessor } from "./batch-processor.ts";
import { isWaybillError } from "./errors.ts";
import { createVirtualClock } from "./virtual-clock.ts";

/** Batches are recorded, and end when the test says so. */
function make(options: Partial<BatchProcessorOptions<number, number>> = {}) {
  const clock = createVirtualClock();
  const batches: (readonly number[])[] = [];
  const ends: ((error?: unknown) => void)[] = [];
  const processor = createBatchProcessor<number, number>({
    size: 3,
    interval: "100ms",
    maxWaiting: 100,
    clock,
    process: (items) => {
      batches.push(items);
      const { promise, resolve, reject } = Promise.withResolvers<number[]>();
      ends.push((error) => (error === undefined ? resolve(items.map((item) => item * 10)) : reject(error)));
      return promise;
    },
    ...options,
  });
  return { clock, batches, ends, processor };
}

const turns = async (count = 3) => {
  for (let n = 0; n < count; n++) await new Promise((resolve) => setImmediate(resolve));
};
const code =
  (expected: Parameters<typeof isWaybillError>[1], certainty = "definite") =>
  (error: unknown) =>
    isWaybillError(error, expected) && error.certainty === certainty;
const immediate = { process: async (items: readonly number[]) => items.map((item) => item * 10) };

void test("a full batch starts at once, and each item gets its own result", async () => {
  const { processor, batches, ends, clock } = make();
  const results = [processor.add(1), processor.add(2), processor.add(3)];
  await turns();
  assert.deepEqual(batches, [[1, 2, 3]]);
  ends[0]?.();
  assert.deepEqual(await Promise.all(results), [10, 20, 30]);
  assert.equal(clock.pending, 0);
});

void test("one that is not full starts when its first item has waited long enough", async () => {
  const { processor, batches, clock } = make(immediate);
  const first = processor.add(1);
  await clock.advance(60);
  const second = processor.add(2);
  await clock.advance(39);
  assert.equal(processor.stats().batches, 0);
  await clock.advance(1);
  assert.deepEqual(await Promise.all([first, second]), [10, 20]);
  assert.equal(processor.stats().batches, 1);
  assert.deepEqual(batches, []);
  const third = processor.add(3);
  await clock.advance(99);
  assert.equal(processor.stats().batches, 1, "its own time");
  await clock.advance(1);
  await third;
});

void test("what is left of a burst waits from when it was added, not from when the batch before began", async () => {
  const { processor, clock, batches, ends } = make();
  const all = [1, 2, 3, 4].map((item) => processor.add(item));
  await clock.advance(90);
  ends[0]?.();
  await turns();
  assert.deepEqual(batches, [[1, 2, 3]]);
  await clock.advance(10);
  assert.deepEqual(batches, [[1, 2, 3], [4]]);
  ends[1]?.();
  await Promise.all(all);
});

void test("bytes close a batch, and one that is larger goes alone", async () => {
  const { processor, batches, ends, clock } = make({ size: 10, maxBytes: 10, sizeOf: (item) => item });
  const all = [4, 4, 4, 25, 1, 9, 1].map((item) => processor.add(item));
  for (let n = 0; n < 6; n++) {
    await turns();
    ends[n]?.();
  }
  await clock.advance(100);
  for (const end of ends) end();
  await Promise.all(all);
  assert.deepEqual(batches, [[4, 4], [4], [25], [1, 9], [1]]);
  for (const batch of batches) assert.ok(batch.length === 1 || batch.reduce((sum, item) => sum + item, 0) <= 10);
});

void test("so many batches at once, the rest waits, and beyond maxWaiting an item is refused at once", async () => {
  const { processor, batches, ends } = make({ concurrency: 2, maxWaiting: 5 });
  const all = Array.from({ length: 11 }, (_, n) => processor.add(n));
  await turns();
  assert.equal(batches.length, 2);
  assert.deepEqual(processor.stats(), { waiting: 5, waitingBytes: 0, processing: 6, batches: 2 });
  await assert.rejects(processor.add(99), code("BUFFER_FULL"));
  ends[0]?.();
  await turns();
  const last = processor.add(11);
  for (let n = 1; n < 5; n++) {
    ends[n]?.();
    await turns();
  }
  await processor.flush().catch(assert.fail);
  assert.deepEqual((await Promise.all([...all, last])).length, 12);
});

void test("with a concurrency of one everything stays in order", async () => {
  const seen: number[] = [];
  const { processor } = make({
    maxWaiting: 1_000,
    process: async (items) => {
      await turns(Math.floor(Math.random() * 3));
      seen.push(...items);
    },
  });
  const all = Array.from({ length: 300 }, (_, n) => processor.add(n));
  await Promise.all(all);
  assert.deepEqual(
    seen,
    Array.from({ length: 300 }, (_, n) => n),
  );
});

void test("an item fails alone; a throw fails all; a wrong number of results fails all", async () => {
  const bad = new Error("bad item");
  const one = make({ process: async (items) => items.map((item) => (item === 2 ? bad : item)) }).processor;
  assert.deepEqual(await Promise.allSettled([one.add(1), one.add(2), one.add(3)]), [
    { status: "fulfilled", value: 1 },
    { status: "rejected", reason: bad },
    { status: "fulfilled", value: 3 },
  ]);
  for (const thrown of [bad, undefined, "text"]) {
    const all = make({ process: () => Promise.reject(thrown) }).processor;
    const results = await Promise.allSettled([all.add(1), all.add(2), all.add(3)]);
    assert.ok(results.every((result) => result.status === "rejected" && result.reason === thrown));
  }
  const throws = make({
    process: () => {
      throw bad;
    },
  }).processor;
  await assert.rejects(Promise.all([throws.add(1), throws.add(2), throws.add(3)]), bad);
  for (const answer of [[1, 2], [1, 2, 3, 4], 5, null]) {
    const wrong = make({ process: async () => answer as never }).processor;
    const results = await Promise.allSettled([wrong.add(1), wrong.add(2), wrong.add(3)]);
    assert.ok(results.every((result) => result.status === "rejected" && isWaybillError(result.reason, "HANDLER")));
  }
  const silent = make({ process: async () => {} }).processor;
  assert.deepEqual(await Promise.all([silent.add(1), silent.add(2), silent.add(3)]), [undefined, undefined, undefined]);
});

void test("a signal takes an item out before its batch has begun, not after", async () => {
  const { processor, batches, ends, clock } = make({ concurrency: 1 });
  const controller = new AbortController();
  const { signal } = controller;
  const begun = [processor.add(1, { signal }), processor.add(2), processor.add(3)];
  const gone = processor.add(4, { signal });
  const kept = processor.add(5);
  controller.abort();
  await assert.rejects(gone, code("ABORTED"));
  await assert.rejects(processor.add(6, { signal }), code("ABORTED"));
  await turns();
  ends[0]?.();
  assert.deepEqual(await Promise.all(begun), [10, 20, 30]);
  await clock.advance(100);
  assert.deepEqual(batches, [[1, 2, 3], [5]]);
  ends[1]?.();
  assert.equal(await kept, 50);
  assert.deepEqual(processor.stats(), { waiting: 0, waitingBytes: 0, processing: 0, batches: 2 });
});

void test("items that were aborted do not pile up", async () => {
  const { processor, clock } = make({ maxWaiting: 10 });
  const stuck = Array.from({ length: 4 }, (_, n) => processor.add(n));
  for (let n = 0; n < 1_000; n++) {
    const controller = new AbortController();
    const added = assert.rejects(processor.add(n, { signal: controller.signal }), code("ABORTED"));
    controller.abort();
    await added;
  }
  assert.equal(processor.stats().waiting, 1);
  const settled = Promise.allSettled(stuck);
  const closing = processor.close({ timeout: 0 });
  await clock.advance(1);
  assert.equal(await closing, 4);
  await settled;
});

void test("flush starts what waits and resolves when what was added before is settled", async () => {
  const { processor, batches, ends, clock } = make();
  await processor.flush();
  const first = processor.add(1);
  let flushed = false;
  const flushing = processor.flush().then(() => (flushed = true));
  const results = Promise.allSettled([first, processor.add(2)]);
  await turns();
  assert.deepEqual(batches, [[1]]);
  assert.equal(flushed, false);
  ends[0]?.(new Error("x"));
  await flushing;
  assert.equal(processor.stats().waiting, 1, "what came after waits for its own time");
  await clock.advance(100);
  ends[1]?.();
  assert.deepEqual(
    (await results).map(({ status }) => status),
    ["rejected", "fulfilled"],
  );
});

void test("close processes what waits, then takes no more", async () => {
  const { processor, clock } = make(immediate);
  const all = Array.from({ length: 7 }, (_, n) => processor.add(n));
  const closing = processor.close();
  await assert.rejects(processor.add(8), code("CLOSED"));
  assert.equal(await closing, 0);
  assert.deepEqual(await Promise.all(all), [0, 10, 20, 30, 40, 50, 60]);
  await processor[Symbol.asyncDispose]();
  assert.equal(clock.pending, 0);
});

void test("close is over at its deadline: what had not begun definitely did not happen", async () => {
  let told: AbortSignal | undefined;
  const { processor, clock } = make({
    process: (_items, { signal }) => {
      told = signal;
      return new Promise(() => {});
    },
  });
  const all = Promise.allSettled(Array.from({ length: 5 }, (_, n) => processor.add(n)));
  await turns();
  const closing = processor.close({ timeout: "1s" });
  assert.equal(processor.close(), closing);
  await clock.advance(999);
  assert.equal(told?.aborted, false);
  await clock.advance(1);
  assert.equal(await closing, 5);
  assert.equal(told?.aborted, true);
  const certainties = (await all).map((result) =>
    result.status === "rejected" && isWaybillError(result.reason, "CLOSED") ? result.reason.certainty : "none",
  );
  assert.deepEqual(certainties, ["indefinite", "indefinite", "indefinite", "definite", "definite"]);
  assert.equal(clock.pending, 0);
});

void test("process may add items itself", async () => {
  const seen: number[] = [];
  const { processor, clock } = make({
    process: async (items) => {
      for (const item of items) {
        seen.push(item);
        if (item < 3) void processor.add(item + 1);
      }
    },
  });
  void processor.add(0);
  await clock.advance(1_000);
  assert.deepEqual(seen, [0, 1, 2, 3]);
});

void test("wrong options are refused", () => {
  for (const [key, value] of Object.entries({
    size: 0,
    interval: "x",
    maxBytes: 5,
    maxWaiting: 2,
    concurrency: 0,
    process: 5,
    sise: 1,
  })) {
    const path = key === "maxBytes" ? "sizeOf" : key;
    assert.throws(
      () => make({ [key]: value }),
      (error) => code("CONFIG")(error) && (error as Error).message.includes(`batchProcessor.${path}`),
      key,
    );
  }
});

void test("a process whose only work is a batch that waits goes on until it is done", { timeout: 30_000 }, async () => {
  const source = `
    import { createBatchProcessor } from ${JSON.stringify(new URL("batch-processor.ts", import.meta.url).href)};
    const processor = createBatchProcessor({ size: 9, interval: 20, maxWaiting: 9, process: async (items) => items });
    console.log(await processor.add("done"));
    console.log(await processor.close());`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", source]);
  assert.equal(stdout, "done\n0\n");
});
