import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isWaybillError } from "@waybill/core";
import { filePath, hostList, parseAddress } from "./address.ts";
import { openTransport, schemes } from "./index.ts";

async function refusal(url: string): Promise<string> {
  const error: unknown = await openTransport(url).then(
    () => assert.fail(`${url} was opened`),
    (thrown: unknown) => thrown,
  );
  assert.ok(isWaybillError(error, "CONFIG"), String(error));
  return error.message;
}

test("each scheme opens its transport", async () => {
  assert.deepEqual(schemes, ["amqp", "amqps", "embedded", "kafka", "memory", "rabbitmq"]);
  const log = await openTransport("memory:?shape=log&partitions=3");
  assert.equal(log.capabilities().revocation.level, "native");
  const directory = mkdtempSync(join(tmpdir(), "transports-"));
  try {
    for (const form of ["", "//"]) {
      const file = await openTransport(`embedded:${form}${join(directory, "a%20b.db")}`);
      assert.equal(file.capabilities().transaction.level, "native");
      await file.close();
    }
    await log.close();
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("a Kafka URL has several hosts, and credentials", async () => {
  for (const url of [
    "kafka:",
    "kafka://a:9092,b",
    "kafka:a:9092",
    "kafka://user:p%40ss@a:9092,b:9093?tls=true&sasl=scram-sha-512&compression=lz4",
  ]) {
    const transport = await openTransport(url);
    assert.equal(transport.name, "kafka");
    await transport.close();
  }
  assert.deepEqual(hostList(parseAddress("kafka://user:p%40ss%3A@a:9092,b:9093/")), {
    credentials: { username: "user", password: "p@ss:" },
    hosts: "a:9092,b:9093",
  });
  assert.match(await refusal("kafka://a:9092/topic"), /host:port/);
  assert.match(await refusal("kafka://a:99999999"), /host:port/);
  assert.match(await refusal("kafka://user@a:9092"), /user:password/);
  assert.match(await refusal("kafka://user:%zz@a:9092"), /%25/);
  assert.match(await refusal("kafka://a:9092?colour=red"), /colour/);
  assert.match(await refusal("kafka://user:secret@a:9092?sasl=kerberos"), /mechanism/);
});

test("a URL of RabbitMQ names its hosts, and what its queues are", async () => {
  for (const scheme of ["rabbitmq", "amqp", "amqps"]) {
    const classic = await openTransport(`${scheme}://user:p%40ss@one:5671,[::1]:5672/my%2Fhost?queue=classic&heartbeat=20s`);
    assert.equal(classic.name, "rabbitmq");
    assert.equal(classic.capabilities().attempts.level, "none", "the queues are classic");
  }
  assert.equal((await openTransport("amqp://127.0.0.1")).capabilities().attempts.level, "native");
  assert.match(await refusal("amqp://one,two:x"), /rabbitmq\.url\[1\]/);
  assert.match(await refusal("amqp://one?queue=round"), /rabbitmq\.queue\.type/);
  assert.match(await refusal("amqp:"), /rabbitmq\.url/);
});

test("an unknown scheme is refused, and the known ones are named", async () => {
  for (const url of ["carrier-pigeon:coop", "constructor:x", "hasOwnProperty:x"])
    assert.match(await refusal(url), /embedded:, kafka:, memory:/);
});

test("what is no URL, no path or no option is refused", async () => {
  for (const url of ["", "__proto__:x", "embedded", "orders.db", ":x", "/x.db"]) assert.match(await refusal(url), /scheme:address/);
  assert.match(await refusal("embedded:"), /path is missing/);
  assert.match(await refusal("embedded://host/x.db"), /no host/);
  assert.match(await refusal("embedded:%zz"), /%25/);
  assert.match(await refusal("memory:somewhere"), /no address/);
  assert.match(await refusal("memory:?shape=cube"), /shape/);
  assert.match(await refusal("memory:?colour=red"), /colour/);
  assert.match(await refusal("memory:?shape=log&shape=log"), /twice/);
  assert.match(await refusal("embedded:x.db?colour=red"), /colour/);
});

test("a refusal never repeats the URL", async () => {
  const secret = "hunter2";
  for (const url of [
    `nosuch://user:${secret}@host`,
    `embedded://user:${secret}@host/x`,
    `user:${secret}@host`,
    `kafka://user:${secret}@host/topic`,
    `kafka://user:${secret}:@a b`,
    `memory:?${secret}!=1&${secret}!=1`,
  ]) {
    assert.doesNotMatch(await refusal(url), new RegExp(secret), url);
  }
});

test("a path is read from both forms of a file's URL", () => {
  assert.equal(filePath(parseAddress("embedded:orders.db")), "orders.db");
  assert.equal(filePath(parseAddress("EMBEDDED:///var/lib/a%20b.db?x=1")), "/var/lib/a b.db");
  assert.equal(filePath(parseAddress("embedded:///C:/data/x.db")), "C:/data/x.db");
});
