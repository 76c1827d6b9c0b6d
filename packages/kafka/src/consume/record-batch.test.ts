import assert from "node:assert/strict";
import { test } from "node:test";
import { brotliCompressSync, gzipSync, zstdCompressSync } from "node:zlib";
import { compressionsAlgorithms, createRecordsBatch, type MessageRecord } from "@platformatic/kafka";
import { isWaybillError } from "@waybill/core";
import { decompressBatch } from "./decompress.ts";
import { lz4Size } from "./lz4-size.ts";
import { createPartQueue } from "./part-queue.ts";
import { readBatches, readRecords, type RecordBatch } from "./record-batch.ts";

const cap = 1024 * 1024;
const text = (bytes: Uint8Array | null | undefined): string => Buffer.from(bytes ?? []).toString();

function batchOf(values: readonly string[], compression: "none" | "gzip" | "snappy" | "lz4" | "zstd", baseOffset = 0): Buffer {
  const messages = values.map((value, index): MessageRecord => ({
    topic: "t",
    partition: 0,
    key: Buffer.from(`k${index}`),
    value: Buffer.from(value),
    headers: new Map([[Buffer.from("name"), Buffer.from(`h${index}`)]]),
    timestamp: 1_700_000_000_000n + BigInt(index),
  }));
  const batch = Buffer.from(createRecordsBatch(messages, { compression }).buffer);
  batch.writeBigInt64BE(BigInt(baseOffset), 0);
  return batch;
}

for (const compression of ["none", "gzip", "snappy", "lz4", "zstd"] as const) {
  test(`records of a batch: ${compression}`, () => {
    const values = Array.from({ length: 500 }, (_, index) => `value ${index} `.repeat(1 + (index % 7)));
    const [batch, ...more] = readBatches(batchOf(values, compression, 40));
    assert(batch !== undefined && more.length === 0);
    assert.equal(batch.baseOffset, 40);
    assert.equal(batch.lastOffset, 539);
    const records = readRecords(batch, cap);
    assert.deepEqual(
      records.map(({ value }) => text(value)),
      values,
    );
    assert.deepEqual(
      records.map(({ offset }) => offset),
      values.map((_, index) => 40 + index),
    );
    assert.equal(text(records[3]?.key), "k3");
    assert.equal(records[3]?.time, 1_700_000_000_003);
    assert.deepEqual(records[3]?.headers.map(text), ["name", "h3"]);
  });

  if (compression === "none") continue;
  test(`a bomb is refused before it fills the memory: ${compression}`, () => {
    const [batch] = readBatches(batchOf(["0".repeat(32 * 1024 * 1024)], compression));
    assert(batch !== undefined && batch.bytes < 8 * 1024 * 1024);
    const before = process.memoryUsage();
    assert.throws(
      () => readRecords(batch, cap),
      (error) => isWaybillError(error, "TOO_LARGE"),
    );
    const after = process.memoryUsage();
    assert(after.arrayBuffers + after.external - before.arrayBuffers - before.external < 8 * 1024 * 1024);
    assert.equal(readRecords(batch, 40 * 1024 * 1024).length, 1);
  });

  test(`what is broken is told as such: ${compression}`, () => {
    const [batch] = readBatches(batchOf(["some value"], compression));
    assert(batch !== undefined);
    const broken: RecordBatch = { ...batch, packed: Buffer.alloc(batch.packed.length, 0xff) };
    assert.throws(
      () => readRecords(broken, cap),
      (error) => isWaybillError(error, "CORRUPT") || isWaybillError(error, "TOO_LARGE"),
    );
  });
}

test("the size of an lz4 frame is known without unpacking it", () => {
  for (const size of [0, 1, 15, 16, 300, 70_000, 5_000_000]) {
    for (const fill of [() => 0, () => Math.floor(Math.random() * 256), (index: number) => index % 19]) {
      const plain = Buffer.from(Array.from({ length: Math.min(size, 200_000) }, (_, index) => fill(index)));
      const frame = compressionsAlgorithms.lz4.compressSync(plain);
      assert.equal(lz4Size(frame, Number.MAX_SAFE_INTEGER), plain.length);
    }
  }
});

test("compressed by others: as well", () => {
  const plain = Buffer.from("plain text ".repeat(1_000));
  assert.equal(text(decompressBatch(1, gzipSync(plain), cap)), plain.toString());
  assert.equal(text(decompressBatch(4, zstdCompressSync(plain), cap)), plain.toString());
  assert.throws(
    () => decompressBatch(5, brotliCompressSync(plain), cap),
    (error) => isWaybillError(error, "CORRUPT"),
  );
});

test("a batch that is cut off at the end of a fetch waits for the next one", () => {
  const whole = Buffer.concat([batchOf(["a", "b"], "none", 0), batchOf(["c"], "none", 2)]);
  assert.equal(readBatches(whole).length, 2);
  assert.equal(readBatches(whole.subarray(0, whole.length - 1)).length, 1);
  assert.equal(readBatches(whole.subarray(0, 30)).length, 0);
});

test("lengths and counts that lie end in an error, not in memory", () => {
  const sound = batchOf(["a"], "none");
  const lies = [
    (bytes: Buffer) => bytes.writeInt32BE(-5, 8),
    (bytes: Buffer) => bytes.writeInt32BE(2_147_483_647, 57),
    (bytes: Buffer) => bytes.writeInt32BE(-1, 57),
    (bytes: Buffer) => bytes.writeInt8(1, 16),
    (bytes: Buffer) => bytes.fill(0xff, 61),
  ];
  for (const lie of lies) {
    const bytes = Buffer.from(sound);
    lie(bytes);
    assert.throws(
      () => readBatches(bytes).map((batch) => readRecords(batch, cap)),
      (error) => isWaybillError(error, "CORRUPT"),
    );
  }
});

test("a queue passes markers and aborted transactions, and tells what cannot be read", () => {
  const passed: number[] = [];
  const unreadable: string[] = [];
  const queue = createPartQueue({
    from: 1,
    maxUnpackedBytes: cap,
    passed: (offset) => passed.push(offset),
    unreadable: (batch, error) => unreadable.push(`${batch.baseOffset}-${batch.lastOffset} ${error.code}`),
  });
  const of = (values: string[], base: number, more: Partial<RecordBatch> = {}): RecordBatch => ({
    ...(readBatches(batchOf(values, "gzip", base))[0] as RecordBatch),
    ...more,
  });
  const batches = [
    of(["a", "b"], 0),
    of(["rolled back"], 2, { isTransactional: true, producerId: 7n }),
    of(["kept"], 3, { isTransactional: true, producerId: 8n }),
    of(["abort"], 4, { isTransactional: true, isControl: true, producerId: 7n }),
    of(["later, committed"], 5, { isTransactional: true, producerId: 7n }),
    of(["0".repeat(2 * cap)], 6),
    of(["end"], 7),
  ];
  queue.push({
    topicId: "",
    partition: 0,
    errorCode: 0,
    highWatermark: 8,
    logStart: 0,
    aborted: [{ producerId: 7n, firstOffset: 2 }],
    batches,
    broken: undefined,
  });
  const seen: string[] = [];
  for (let record = queue.peek(); record !== undefined; record = queue.peek()) {
    seen.push(text(record.value));
    queue.shift();
  }
  assert.deepEqual(seen, ["b", "kept", "later, committed", "end"]);
  assert.deepEqual(unreadable, ["6-6 TOO_LARGE"]);
  assert.equal(passed.at(-1), 7);
  assert.equal(queue.bytes, 0);
  assert.equal(queue.fetchOffset, 8);
});
