import assert from "node:assert/strict";
import { test } from "node:test";
import { readRecordsBatch, Reader } from "@platformatic/kafka";
import type { Message } from "@waybill/core";
import type { Compression } from "../options.ts";
import { batchOf, packRecords } from "./record-writer.ts";

const stamp = { producerId: 7n, epoch: 2, sequence: 40, isTransactional: false };
const codecs: readonly Compression[] = ["none", "gzip", "snappy", "lz4", "zstd"];

function message(fields: Partial<Message> = {}): Message {
  return {
    id: "id-1",
    topic: "t",
    group: undefined,
    key: "key",
    body: Buffer.from("body"),
    headers: {},
    time: 1_700_000_000_000,
    deliverAt: undefined,
    expiresAt: undefined,
    priority: undefined,
    replyTo: undefined,
    correlationId: undefined,
    mandatory: false,
    native: undefined,
    ...fields,
  };
}

async function written(messages: readonly Message[], codec: Compression = "none", maxBytes = 1_000_000) {
  const packed = await packRecords(messages, 0, Number.MAX_SAFE_INTEGER, maxBytes, codec);
  return readRecordsBatch(Reader.from(batchOf(packed, stamp)));
}

for (const codec of codecs) {
  test(`another client reads a batch that is packed by ${codec}`, async () => {
    const messages = Array.from({ length: 300 }, (_, at) =>
      message({
        id: `id-${at}`,
        key: at % 2 === 0 ? `key-${at}` : undefined,
        body: Buffer.alloc(at * 40, at % 256),
        time: 1_700_000_000_000 + (at % 7) - 3,
      }),
    );
    const batch = await written(messages, codec, 16_000_000);
    assert.equal(batch.records.length, messages.length);
    assert.equal(batch.producerId, 7n);
    assert.equal(batch.producerEpoch, 2);
    assert.equal(batch.firstSequence, 40);
    assert.equal(batch.lastOffsetDelta, messages.length - 1);
    batch.records.forEach((record, at) => {
      const was = messages[at] as Message;
      assert.equal(record.offsetDelta, at);
      assert.equal(Number(batch.firstTimestamp + record.timestampDelta), was.time);
      assert.equal(record.key?.toString(), was.key);
      assert.deepEqual(record.value, was.body);
      assert.deepEqual(
        record.headers.map(([name, value]) => [name?.toString(), value?.toString()]),
        [["waybill-id", was.id]],
      );
    });
    assert.equal(Number(batch.maxTimestamp), Math.max(...messages.map(({ time }) => time)));
  });
}

test("records of every size around the lengths where their own length takes another byte", async () => {
  for (const around of [0, 30, 63, 64, 127, 128, 7_700, 8_191, 8_192, 16_384, 1_048_000, 1_048_576]) {
    for (let size = Math.max(0, around - 3); size < around + 3; size += 1) {
      const { records } = await written([message({ body: Buffer.alloc(size, 1) })], "none", 16_000_000);
      assert.equal(records[0]?.value?.length ?? -1, size);
    }
  }
});

test("a tombstone, an empty key and text of all kinds", async () => {
  const headers = { empty: "", unicode: "ü\u{1F600}", long: "x".repeat(3_000), short: "a" };
  const { records } = await written([
    message({ body: null, key: "" }),
    message({ key: "日本語-".repeat(20), headers, deliverAt: 1, expiresAt: 2, replyTo: "r", correlationId: "c" }),
  ]);
  assert.equal(records[0]?.value, null);
  assert.equal(records[0]?.key?.length ?? 0, 0);
  assert.notEqual(records[0]?.key, undefined);
  const [, second] = records;
  assert.equal(second?.key?.toString(), "日本語-".repeat(20));
  const read = Object.fromEntries(second?.headers.map(([name, value]) => [name?.toString(), value?.toString()]) ?? []) as Record<
    string,
    string
  >;
  assert.deepEqual(read, {
    "waybill-id": "id-1",
    "waybill-deliver-at": "1",
    "waybill-expires-at": "2",
    "waybill-reply-to": "r",
    "waybill-correlation-id": "c",
    ...headers,
  });
});

test("messages that share their headers, and such that do not", async () => {
  const shared = { "content-type": "application/json" };
  const messages = Array.from({ length: 6 }, (_, at) => message({ headers: at === 3 ? { other: "1" } : shared }));
  const { records } = await written(messages);
  records.forEach((record, at) => assert.equal(record.headers[1]?.[0]?.toString(), at === 3 ? "other" : "content-type"));
});

test("a batch takes what fits, but at least one", async () => {
  const messages = Array.from({ length: 10 }, () => message({ body: Buffer.alloc(1_000) }));
  const few = await packRecords(messages, 2, Number.MAX_SAFE_INTEGER, 3_500, "none");
  assert.equal(few.count, 3);
  assert.equal((await packRecords(messages, 9, Number.MAX_SAFE_INTEGER, 10, "none")).count, 1);
  assert.equal((await packRecords(messages, 0, 2, 1_000_000, "none")).count, 2);
});
