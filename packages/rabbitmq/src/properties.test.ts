import assert from "node:assert/strict";
import { test } from "node:test";
import { isWaybillError, type Message } from "@waybill/core";
import type { ConsumeMessage } from "amqplib";
import { isDelicate } from "./careful.ts";
import { attemptsBefore, toMessage, toProperties } from "./properties.ts";

const message: Message = {
  id: "m-1",
  topic: "order.placed",
  group: undefined,
  key: "k",
  body: Buffer.from("{}"),
  headers: Object.assign(Object.create(null) as Record<string, string>, { "content-type": "application/json", tenant: "a" }),
  time: 1_700_000_000_123,
  deliverAt: undefined,
  expiresAt: undefined,
  priority: undefined,
  replyTo: undefined,
  correlationId: undefined,
  mandatory: false,
  native: undefined,
};

function raw(properties: Record<string, unknown>, content = Buffer.from("{}"), redelivered = false): ConsumeMessage {
  return {
    content,
    fields: { deliveryTag: 1, redelivered, exchange: "waybill", routingKey: "order.placed", consumerTag: "c" },
    properties,
  } as unknown as ConsumeMessage;
}

test("properties of AMQP come before headers", () => {
  const properties: object = toProperties(message, {}, true);
  const { headers, ...rest } = properties as { readonly headers?: object };
  assert.deepEqual(rest, { messageId: "m-1", contentType: "application/json", timestamp: 1_700_000_000, deliveryMode: 2 });
  assert.deepEqual({ ...headers }, { tenant: "a", "waybill-key": "k", "waybill-time": "1700000000123" });
});

test("a message of another client is read as far as it goes", () => {
  const got = toMessage(
    raw({
      headers: {
        N: 5,
        Flag: true,
        When: { "!": "timestamp", value: 7 },
        list: [1],
        bytes: Buffer.from("b"),
        nothing: null,
        "x-death": [{}],
      },
    }),
    undefined,
  );
  assert.deepEqual({ ...got.headers }, { n: "5", flag: "true", when: "7", list: "[1]", bytes: "b" });
  assert.equal(Object.getPrototypeOf(got.headers), null);
  assert.equal(got.topic, "order.placed");
  assert.match(got.id, /^amqp-[0-9a-f]{24}$/);
  assert.equal(got.key, undefined);
  assert.equal(toMessage(raw({}), "known").topic, "known");
  assert(toMessage(raw({ timestamp: 5 }), undefined).time === 5_000);
});

test("forged headers of ours do no harm", () => {
  for (const attempts of ["-1", "1e99", "NaN", {}, []]) assert.equal(attemptsBefore(raw({ headers: { "waybill-attempts": attempts } })), 0);
  assert.equal(toMessage(raw({ headers: { "waybill-expires-at": "soon" } }), undefined).expiresAt, undefined);
});

test("what AMQP cannot carry is refused", () => {
  for (const bad of [{ id: "x".repeat(256) }, { key: "\uD800" }, { correlationId: "\uDC00" }, { replyTo: "é".repeat(128) }])
    assert.throws(
      () => toProperties({ ...message, ...bad }, {}, true),
      (error) => isWaybillError(error, "CONFIG"),
    );
});

test("what came back twice, or is marked, is taken alone", () => {
  assert.equal(isDelicate(raw({})), false);
  assert.equal(isDelicate(raw({ headers: { "x-delivery-count": 1 } }, undefined, true)), false);
  assert.equal(isDelicate(raw({ headers: { "x-delivery-count": 2 } }, undefined, true)), true);
  assert.equal(isDelicate(raw({ headers: { "waybill-note": "1 0 0 1" } })), true);
  assert.equal(isDelicate(raw({ headers: { "waybill-note": "1 1 0 0", "waybill-attempts": "1" } })), false, "a retry is nothing special");
});
