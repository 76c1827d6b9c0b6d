import assert from "node:assert/strict";
import { test } from "node:test";
import { isWaybillError, WaybillError } from "../errors.ts";
import { bytes } from "./bytes.ts";
import type { Codec } from "./codec.ts";
import { json } from "./json.ts";
import { createCodecs } from "./registry.ts";
import { text } from "./text.ts";

const canary = "s3cr3tCanary";

void test("text keeps every well-formed string, the byte order mark too", () => {
  for (const value of ["", "plain", "\ufeffmarked", "ä 👩‍🚀 \u0000 \r\n \u2028", "x".repeat(100_000)])
    assert.equal(text.decode(text.encode(value)), value);
  for (const value of ["\ud800", "a\udfffb", 5, null, undefined, {}, [canary]]) {
    assert.throws(
      () => text.encode(value),
      (error) => isWaybillError(error, "VALIDATION") && !error.message.includes(canary),
    );
  }
  for (const broken of [[0xff], [0xc3], [0xed, 0xa0, 0x80]])
    assert.throws(
      () => text.decode(Uint8Array.from(broken)),
      (error) => isWaybillError(error, "DECODE"),
    );
});

void test("bytes go through as they are", () => {
  const body = Uint8Array.from({ length: 256 }, (_, n) => n);
  assert.equal(bytes.encode(body), body);
  assert.equal(bytes.decode(body), body);
  for (const value of ["x", null, undefined, [1], new ArrayBuffer(1), { length: 1 }])
    assert.throws(
      () => bytes.encode(value),
      (error) => isWaybillError(error, "VALIDATION"),
    );
});

void test("only listed content types are found, with parameters and in any case", () => {
  const codecs = createCodecs([json, text, bytes]);
  assert.deepEqual(codecs.contentTypes, ["application/json", "text/plain", "application/octet-stream"]);
  for (const type of [
    "application/json",
    "Application/JSON",
    "application/json; charset=utf-8",
    ' application/json;charset="UTF8" ; x=y',
    "application/json;",
  ]) {
    assert.equal(codecs.get(type).contentType, "application/json", type);
  }
  const unknown = [
    "",
    "json",
    "application/x-msgpack",
    "application/json,text/plain",
    "application/cloudevents+json",
    "text/json",
    "application/json; charset=utf-16",
    "__proto__",
    "constructor",
    `application/json;${" ".repeat(300)}`,
    "application/json\r\n",
    ";",
    "x".repeat(10_000_000),
  ];
  for (const type of unknown) {
    assert.throws(
      () => codecs.get(type),
      (error) => isWaybillError(error, "UNKNOWN_TYPE") && error.message.length < 300,
      type.slice(0, 50),
    );
  }
  assert.throws(
    () => codecs.get("a\u001b[31m\n/b"),
    (error) => isWaybillError(error, "UNKNOWN_TYPE") && error.message.includes("a\\x1b[31m\\n/b"),
  );
});

void test("a later codec replaces an earlier one; a malformed content type is refused", () => {
  const own: Codec = { contentType: "application/json", encode: () => Uint8Array.of(1), decode: () => "own" };
  const codecs = createCodecs([json, own]);
  assert.equal(codecs.get("application/json").decode(Uint8Array.of()), "own");
  for (const contentType of ["", "json", "Application/Json", "text/plain; charset=utf-8", "a/b\n", "a/b/c"]) {
    assert.throws(
      () => createCodecs([{ ...own, contentType }]),
      (error) => isWaybillError(error, "CONFIG"),
      contentType,
    );
  }
});

void test("whatever a codec throws becomes VALIDATION or DECODE, and quotes nothing", () => {
  const revoked = Proxy.revocable(new Error("x"), {});
  revoked.revoke();
  for (const thrown of [
    new SyntaxError(`bad ${canary}`),
    canary,
    undefined,
    null,
    Object.freeze({ canary }),
    revoked.proxy,
    Object.assign(new Error("x"), { name: 5 }),
  ]) {
    const fail = (): never => {
      throw thrown;
    };
    const codec = createCodecs([{ contentType: "a/b", encode: fail, decode: fail }]).get("a/b");
    assert.throws(
      () => codec.encode(1),
      (error) => isWaybillError(error, "VALIDATION") && !error.message.includes(canary) && error.cause === undefined,
    );
    assert.throws(
      () => codec.decode(Uint8Array.of()),
      (error) => isWaybillError(error, "DECODE") && !error.message.includes(canary) && error.cause === undefined,
    );
  }
  const own = new WaybillError("TOO_LARGE", "own");
  const codec = createCodecs([
    {
      contentType: "a/b",
      encode() {
        throw own;
      },
      decode: (bytes) => bytes,
    },
  ]).get("a/b");
  assert.throws(
    () => codec.encode(1),
    (error) => error === own,
  );
});
