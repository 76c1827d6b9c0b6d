import assert from "node:assert/strict";
import { test } from "node:test";
import { isWaybillError } from "@waybill/core";
import { readOptions, type RabbitmqOptions } from "./options.ts";
import { rabbitmq } from "./transport.ts";

function refusal(options: unknown): string {
  try {
    readOptions(options as RabbitmqOptions);
  } catch (error) {
    assert(isWaybillError(error, "CONFIG"), String(error));
    return error.message;
  }
  return assert.fail("taken");
}

test("one error lists every wrong option", () => {
  const text = refusal({
    heartbeat: "soon",
    queue: { typ: "quorum", deliveryLimit: 0 },
    exchanges: [{ name: "x", type: "round" }],
    colour: 1,
  });
  for (const path of [
    "rabbitmq.heartbeat",
    "rabbitmq.queue.typ",
    "rabbitmq.queue.deliveryLimit",
    "rabbitmq.exchanges[0].type",
    "rabbitmq.colour",
  ])
    assert(text.includes(path), `${path} in ${text}`);
});

test("what options say together is checked as well, with every address", () => {
  const text = refusal({
    url: ["amqp://a", "http://b", "not a url"],
    exchange: "amq.mine",
    queue: { maxPriority: 5 },
    exchanges: [{ name: "amq.mine.due", type: "topic" }],
  });
  for (const path of [
    "rabbitmq.url[1]",
    "rabbitmq.url[2]",
    "rabbitmq.exchange",
    "rabbitmq.queue.maxPriority",
    "rabbitmq.exchanges[0].name",
  ])
    assert(text.includes(path), `${path} in ${text}`);
  assert.match(refusal({ queue: { type: "classic", deliveryLimit: 5 } }), /rabbitmq\.queue\.deliveryLimit/);
});

test("an error never repeats a password", () => {
  for (const url of ["amqp://user:hunter2@host:bad", "amqp://user:hunter2@host/%zz", "http://user:hunter2@host", "user:hunter2@host"])
    assert.doesNotMatch(refusal({ url }), /hunter2/);
  assert.doesNotMatch(refusal({ password: 5, username: "x", url: "amqp://u:hunter2@h?x=1" }), /hunter2/);
});

test("addresses are read as they are written", () => {
  const read = (options: RabbitmqOptions): unknown => readOptions(options).addresses[0];
  const plain = { secure: false, host: "127.0.0.1", port: 5672, username: "guest", password: "guest", vhost: "/" };
  assert.deepEqual(read({}), plain);
  assert.deepEqual(read({ url: "amqp://127.0.0.1/" }), plain);
  assert.deepEqual(read({ url: "amqps://me:p%40ss@[::1]/my%2Fhost" }), {
    secure: true,
    host: "::1",
    port: 5671,
    username: "me",
    password: "p@ss",
    vhost: "my/host",
  });
  assert.deepEqual(read({ url: "amqp://127.0.0.1", username: "u", password: "p", vhost: "v" }), {
    ...plain,
    username: "u",
    password: "p",
    vhost: "v",
  });
});

test("before it is connected it says what it could do at most", () => {
  const can = rabbitmq().capabilities();
  assert.equal(can.attempts.level, "native");
  assert.equal(can.settleConfirm.level, "none");
  assert.equal(can.fromEarliest.level, "none");
  const classic = rabbitmq({ queue: { type: "classic", maxPriority: 9 } }).capabilities();
  assert.equal(classic.attempts.level, "none");
  assert.deepEqual(classic.priority.limits, { levels: 10 });
  const kept = rabbitmq({ topics: { "a.b": { stream: true } } });
  assert.equal(kept.capabilities("a.b").fromEarliest.level, "emulated");
  assert.equal(kept.capabilities("a.c").fromEarliest.level, "none");
  assert.equal(rabbitmq({ declare: false }).capabilities().delay.level, "none");
});
