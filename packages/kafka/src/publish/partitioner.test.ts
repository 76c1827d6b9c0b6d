import assert from "node:assert/strict";
import { test } from "node:test";
import { murmur2 as clientMurmur2 } from "@platformatic/kafka";
import { hashOf, murmur2, partitionIn } from "./partitioner.ts";

test("murmur2 gives what Kafka's Java client gives", () => {
  // org.apache.kafka.common.utils.UtilsTest
  const vectors: readonly (readonly [string, number])[] = [
    ["21", -973932308],
    ["foobar", -790332482],
    ["a-little-bit-long-string", -985981536],
    ["a-little-bit-longer-string", -1486304829],
    ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
    ["abc", 479470107],
  ];
  for (const [text, hash] of vectors) assert.equal(murmur2(text), hash, text);
});

test("murmur2 hashes the UTF-8 of a text, of any length", () => {
  const texts = [
    "",
    "a",
    "ab",
    "é",
    "日本語",
    "\u{1F600}",
    "key-ü",
    ..."abcdefghijklmnopqrstuvwxyz".split("").map((_, at) => "x".repeat(at)),
  ];
  for (const text of texts) assert.equal(murmur2(text), clientMurmur2(Buffer.from(text)), text);
});

test("a hash is never negative", () => {
  for (const partitioner of ["murmur2", "crc32"] as const) {
    const hash = hashOf(partitioner);
    for (let at = 0; at < 1_000; at += 1) assert(hash(`key-${at}`) >= 0);
  }
});

test("crc32 is that of librdkafka", () => {
  // The check value of CRC-32.
  assert.equal(hashOf("crc32")("123456789"), 0xcbf43926);
});

test("a partition that a message names itself", () => {
  assert.equal(partitionIn({ partition: 3 }), 3);
  for (const wrong of [undefined, null, {}, { partition: -1 }, { partition: 1.5 }, { partition: "1" }])
    assert.equal(partitionIn(wrong), undefined);
});
