import assert from "node:assert/strict";
import { test } from "node:test";
import { messageOf, type RecordLike } from "./message.ts";
import { isInternal, isOwnTopic, logTopicOf, retryTopic } from "./names.ts";

const origin = { log: "orders", partition: 3, topic: "orders", group: undefined };

function record(headers: readonly (readonly [string, string | null])[], fields: Partial<RecordLike> = {}): RecordLike {
  const flat = headers.flatMap(([name, value]) => [Buffer.from(name), value === null ? null : Buffer.from(value)]);
  return { offset: 12, time: 1_700_000_000_000, key: Buffer.from("k"), value: Buffer.from("{}"), headers: flat, ...fields };
}

test("our own fields come back out of their headers", () => {
  const message = messageOf(
    record([
      ["waybill-id", "m-1"],
      ["waybill-deliver-at", "5"],
      ["waybill-expires-at", "6"],
      ["waybill-reply-to", "waybill.inbox.x"],
      ["waybill-correlation-id", "c"],
      ["Content-Type", "application/json"],
    ]),
    origin,
  );
  assert.equal(message.id, "m-1");
  assert.equal(message.deliverAt, 5);
  assert.equal(message.expiresAt, 6);
  assert.equal(message.replyTo, "waybill.inbox.x");
  assert.equal(message.correlationId, "c");
  assert.deepEqual({ ...message.headers }, { "content-type": "application/json" });
  assert.equal(Object.getPrototypeOf(message.headers), null);
});

test("a foreign record is named after its place, which is the same for every reader", () => {
  const message = messageOf(record([]), origin);
  assert.equal(message.id, "orders/3/12");
  assert.equal(message.key, "k");
  assert.equal(message.time, 1_700_000_000_000);
});

test("a tombstone, a record without a key, one with an empty key", () => {
  const message = messageOf(record([], { key: null, value: null }), origin);
  assert.equal(message.key, undefined);
  assert.equal(message.body, null);
  assert.equal(messageOf(record([], { key: Buffer.alloc(0) }), origin).key, "");
});

test("names that are prototypes of trouble, duplicates, empty values, times that are none", () => {
  const message = messageOf(
    record([
      ["__proto__", "x"],
      ["constructor", "y"],
      ["twice", "1"],
      ["twice", "2"],
      ["nothing", null],
      ["waybill-deliver-at", "soon"],
      ["waybill-expires-at", ""],
    ]),
    origin,
  );
  assert.equal(message.headers["__proto__"], "x");
  assert.equal(message.headers["constructor"], "y");
  assert.equal(message.headers["twice"], "2");
  assert.equal(message.headers["nothing"], "");
  assert.equal(message.deliverAt, undefined);
  assert.equal(message.expiresAt, undefined);
  assert.equal(({} as Record<string, unknown>)["x"], undefined);
});

test("what is for one group goes to its own topic, and no two groups share one", () => {
  assert.equal(logTopicOf({ topic: "orders", group: undefined }), "orders");
  assert.equal(logTopicOf({ topic: "orders.placed", group: "billing" }), "waybill.retry.1.billing.orders.placed");
  assert.notEqual(retryTopic("b.c", "a"), retryTopic("c", "a.b"));
  assert.equal(logTopicOf({ topic: "dead-letters.g.orders", group: "dead-letters" }), "dead-letters.g.orders");
  assert.equal(isOwnTopic("orders", "dead-letters"), false);
  assert(isInternal("waybill.retry.1.a.b") && isInternal("__consumer_offsets") && !isInternal("waybills"));
});
