import assert from "node:assert/strict";
import { test } from "node:test";
import type { Message } from "@waybill/core";
import {
  contentSum,
  hashId,
  idOf,
  isSound,
  keyOf,
  readRecord,
  recordBound,
  sealRecord,
  streamSeed,
  timeOf,
  writeRecord,
} from "./sql/record.ts";
import { message } from "./test.fixture.ts";

function stored(one: Message): Buffer {
  const body = one.body as Uint8Array | null;
  const into = Buffer.alloc(recordBound(one, body?.length ?? 0));
  return into.subarray(0, writeRecord(into, 0, one, body));
}

function headers(all: Record<string, string>): Record<string, string> {
  return Object.assign(Object.create(null) as Record<string, string>, all);
}

test("a record gives back every field, whatever its text", () => {
  const long = "x".repeat(70_000);
  for (const text of ["", "a", "ä", "日本", "🙂", "\u0000\u001f", long]) {
    const one = message("t", text, {
      id: `id${text}`,
      key: text,
      headers: headers({ a: text, [`h${text.slice(0, 9)}`]: "2", "": "" }),
      replyTo: text,
      correlationId: `${text}c`,
      deliverAt: 5,
      expiresAt: 2 ** 45,
      priority: 7,
      mandatory: true,
    });
    const bytes = stored(one);
    const back = readRecord(bytes, 0, bytes.length, "t", undefined, 7);
    assert.deepEqual({ ...back, body: Buffer.from(back.body as Uint8Array) }, { ...one, body: one.body });
    assert.equal(idOf(bytes), one.id);
    assert.equal(keyOf(bytes), one.key);
    assert.equal(timeOf(bytes), one.time);
  }
});

test("what is not set stays unset, and a tombstone has no body", () => {
  const bytes = stored(message("t", "", { body: null }));
  const back = readRecord(bytes, 0, bytes.length, "t", "g", 0);
  assert.equal(back.body, null);
  assert.equal(back.key, undefined);
  assert.equal(back.priority, undefined);
  assert.equal(back.mandatory, false);
  assert.equal(Object.getPrototypeOf(back.headers), null);
  assert.equal(back.group, "g");
  assert.equal(keyOf(bytes), undefined);
});

test("any changed bit, another place or another topic is noticed", () => {
  const seed = streamSeed("t", "", 0);
  const bytes = stored(message("t", "body", { key: "k" }));
  sealRecord(bytes, contentSum(bytes), seed, 7, 3);
  assert(isSound(bytes, seed, 7, 3));
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    assert(!isSound(bytes, seed, 7, 3), `bit ${bit}`);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
  }
  assert(!isSound(bytes, seed, 8, 3));
  assert(!isSound(bytes, seed, 7, 4));
  assert(!isSound(bytes, seed, 7 + 2 ** 32, 3));
  for (const other of [streamSeed("u", "", 0), streamSeed("t", "g", 0), streamSeed("t", "", 1)]) assert(!isSound(bytes, other, 7, 3));
});

test("the hashes of ids differ", () => {
  const of = (id: string): string => {
    const into = new Int32Array(2);
    hashId(id, into, 0);
    return into.join(":");
  };
  assert.equal(of("ä1"), of("ä1"));
  const all = Array.from({ length: 200_000 }, (_, n) => of(`id-${n}`));
  assert.equal(new Set(all).size, all.length);
  // Each half by itself comes out as chance would have it: about 4.7 pairs of 200,000 numbers of 32 bits are equal.
  for (const half of [0, 1]) assert(new Set(all.map((hash) => hash.split(":")[half])).size > all.length - 30);
});
