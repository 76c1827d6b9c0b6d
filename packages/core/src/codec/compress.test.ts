import assert from "node:assert/strict";
import { test } from "node:test";
import * as zlib from "node:zlib";
import { isWaybillError } from "../errors.ts";
import { compress, decompress, encodings } from "./compress.ts";

const mib = 1024 * 1024;
const unreadable = (error: unknown) => isWaybillError(error, "DECODE") && error.certainty === "definite";
/** Throws and rejections alike. */
const unpack = async (bytes: Uint8Array, encoding: string, maxBytes = 64 * mib) => decompress(bytes, encoding, maxBytes);
const sample = (bytes: number) => Buffer.from(Array.from({ length: bytes }, (_, n) => (n * n + (n >> 5)) & 63));

for (const encoding of encodings) {
  void test(`${encoding}: every size comes back, small ones at once, large ones by promise`, async () => {
    for (const size of [0, 1, 100, 4_096, 32 * 1024, 32 * 1024 + 1, 300_000, 2 * mib]) {
      const plain = sample(size);
      const packed = compress(plain, encoding);
      assert.equal(packed instanceof Promise, size > 32 * 1024);
      assert.deepEqual(Buffer.from(await unpack(await packed, encoding)), plain);
    }
    assert.ok(!(decompress(zlib.gzipSync(sample(1_000)), "gzip", mib) instanceof Promise));
  });

  void test(`${encoding}: a cut body is refused at every length, and so is data after the end`, async () => {
    const packed = await compress(sample(2_000), encoding);
    for (let length = 0; length < packed.length; length++)
      await assert.rejects(unpack(packed.subarray(0, length), encoding), unreadable, String(length));
    await assert.rejects(unpack(Buffer.concat([packed, Buffer.from("more")]), encoding), unreadable);
    const large = await compress(Buffer.from(Array.from({ length: 200_000 }, () => Math.floor(Math.random() * 256))), encoding);
    await assert.rejects(unpack(large.subarray(0, -1), encoding), unreadable);
    await assert.rejects(unpack(Buffer.concat([large, Buffer.from("more")]), encoding), unreadable);
    await assert.rejects(unpack(Buffer.from("no such thing"), encoding), unreadable);
  });

  void test(`${encoding}: what would be larger than the cap is refused, also as a bomb`, async () => {
    const packed = await compress(sample(10_000), encoding);
    assert.equal((await unpack(packed, encoding, 10_000)).length, 10_000);
    await assert.rejects(unpack(packed, encoding, 9_999), unreadable);
    const bomb = await compress(Buffer.alloc(64 * mib), encoding);
    assert.ok(bomb.length < mib / 8);
    const before = process.memoryUsage().arrayBuffers;
    await assert.rejects(
      unpack(bomb, encoding, 4 * mib),
      (error) => unreadable(error) && /more than 4194304 bytes/.test((error as Error).message),
    );
    assert.ok(process.memoryUsage().arrayBuffers - before < 32 * mib);
  });

  void test(`${encoding}: is undone once only`, async () => {
    const once = await compress(sample(1_000), encoding);
    const twice = await compress(once, encoding);
    assert.deepEqual(Buffer.from(await unpack(twice, encoding)), Buffer.from(once));
    await assert.rejects(unpack(twice, `${encoding}, ${encoding}`), unreadable);
  });
}

void test("changed bytes are noticed where the format has a checksum", async () => {
  for (const encoding of ["gzip", "zstd"] as const) {
    const plain = sample(2_000);
    const packed = await compress(plain, encoding);
    for (let at = 0; at < packed.length; at++) {
      const changed = Uint8Array.from(packed);
      changed[at] = (changed[at] ?? 0) ^ 0x10;
      try {
        assert.deepEqual(Buffer.from(await unpack(changed, encoding, 10_000)), plain, `${encoding} ${at}`);
      } catch (error) {
        assert.ok(unreadable(error), String(error));
      }
    }
  }
});

void test("no encoding is none, an unknown one is refused", async () => {
  const body = Buffer.from("x");
  assert.equal(decompress(body, "", 0), body);
  assert.equal(decompress(body, "identity", 0), body);
  assert.deepEqual(Buffer.from(await unpack(zlib.gzipSync("x"), "GZIP")), body);
  for (const encoding of ["deflate", "snappy", "gzip,br", " gzip", "x-gzip", "__proto__", "constructor", "\n", "x".repeat(1_000_000)]) {
    await assert.rejects(
      unpack(body, encoding),
      (error) => unreadable(error) && (error as Error).message.length < 200,
      encoding.slice(0, 20),
    );
  }
});
