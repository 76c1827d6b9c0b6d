import assert from "node:assert/strict";
import { test } from "node:test";
import { isWaybillError } from "@waybill/core";
import { kafka } from "./kafka.ts";
import { readOptions, type KafkaOptions } from "./options.ts";

function refusal(options: unknown): string {
  try {
    readOptions(options as KafkaOptions);
  } catch (error) {
    assert(isWaybillError(error, "CONFIG"), String(error));
    return error.message;
  }
  return assert.fail("it was taken");
}

test("every option has its default", () => {
  const settings = readOptions({});
  assert.deepEqual(settings.brokers, [{ host: "127.0.0.1", port: 9092 }]);
  assert.equal(settings.deliveryTimeoutMs, 5_000);
  assert.equal(settings.retryBackoffMs, 100);
  assert.equal(settings.groupProtocol, "classic");
  assert.equal(settings.sessionTimeoutMs, 6_000);
  assert(settings.heartbeatMs <= 2_000);
  assert.equal(settings.tls, undefined);
});

test("brokers in all their forms", () => {
  const of = (brokers: string | readonly string[]): string =>
    readOptions({ brokers })
      .brokers.map(({ host, port }) => `${host} ${port}`)
      .join(", ");
  assert.equal(of("a:1,b"), "a 1, b 9092");
  assert.equal(of("kafka://a:1,b:2/"), "a 1, b 2");
  assert.equal(of(["a:1", "[::1]:2"]), "a 1, ::1 2");
  assert.match(refusal({ brokers: "a:0" }), /host:port/);
  assert.match(refusal({ brokers: "user:secret@a:1" }), /host:port/);
  assert.doesNotMatch(refusal({ brokers: "user:secret@a:1" }), /secret/);
  assert.match(refusal({ brokers: [] }), /brokers/);
});

test("what contradicts itself or is not known is refused", () => {
  assert.match(refusal({ colour: "red" }), /colour/);
  assert.match(refusal({ sasl: { mechanism: "plain", username: "u" } }), /password/);
  assert.match(refusal({ sasl: { mechanism: "oauthbearer" } }), /token/);
  assert.match(refusal({ sasl: { mechanism: "kerberos" } }), /mechanism/);
  assert.match(refusal({ heartbeatEvery: "6s" }), /heartbeatEvery/);
  assert.match(refusal({ retryBackoff: "5s" }), /retryBackoff/);
  assert.match(refusal({ compression: "brotli" }), /compression/);
  assert.doesNotMatch(refusal({ sasl: { mechanism: "plain", username: "u", password: "hunter2", more: 1 } }), /hunter2/);
});

test("before it is connected a transport says what it could give, and publishes nothing", async () => {
  const transport = kafka({ maxBodyBytes: 5_000 });
  assert.equal(transport.capabilities().maxBodyBytes, 5_000);
  assert.equal(transport.capabilities().durability, "D3");
  const [outcome] = await transport.publish([{} as never], { signal: new AbortController().signal });
  assert(outcome?.ok === false && outcome.error.code === "NOT_STARTED");
  await assert.rejects(transport.subscribe({ native: undefined } as never), { code: "NOT_STARTED" });
  await transport.close();
  await transport.close();
  await assert.rejects(transport.connect({ signal: new AbortController().signal, onStatus: () => undefined }), { code: "CLOSED" });
});
