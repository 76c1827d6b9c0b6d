import assert from "node:assert/strict";
import { test } from "node:test";
import type { Message } from "@waybill/core";
import { hashId, idOf, isSound, keyOf, readRecord, recordBound, sealRecord, streamSeed, timeOf, writeRecord } from "./sql/record.ts";
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
  sealRecord(bytes, seed, 7, 3);
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

test("the hash of an id depends on nothing but the id and the seed", () => {
  const of = (one: Message, seed: number): string => {
    const into = new Uint32Array(2);
    hashId(stored(one), seed, into, 0);
    return into.join(":");
  };
  const plain = of(message("t", "a", { id: "ä1" }), 1);
  assert.equal(of(message("t", "b", { id: "ä1", key: "ü", headers: headers({ x: "ö" }) }), 1), plain);
  assert.notEqual(of(message("t", "a", { id: "ä2" }), 1), plain);
  assert.notEqual(of(message("t", "a", { id: "ä1" }), 2), plain);
  const all = new Set(Array.from({ length: 20_000 }, (_, n) => of(message("t", "", { id: `id-${n}` }), 3)));
  assert.equal(all.size, 20_000);
});
