import assert from "node:assert/strict";
import { after, test } from "node:test";
import { startBroker } from "./index.ts";
import { liveBrokers } from "./kafka-probe.ts";
import { ask } from "./probe.ts";
import { assertNothingLeft, privateFolder, until } from "./private-folder.fixture.ts";

const folder = privateFolder();
after(() => folder.remove());
const advertise = (index: number, port: number): Promise<{ host: string; port: number }> =>
  Promise.resolve({ host: "proxy.test", port: port + 30_000 + index });

/** What the server writes after `command`, up to and including `end`. */
function answerTo(port: number, command: string, end: string): Promise<string> {
  return ask({
    host: "127.0.0.1",
    port,
    first: Buffer.from(command),
    answer: (received) => (received.includes(end) ? received.toString() : undefined),
  });
}

test("kafka tells its clients the advertised address, and has the settings that were asked for", { timeout: 120_000 }, async () => {
  await using broker = await startBroker("kafka", {
    advertise,
    settings: { "group.consumer.session.timeout.ms": "7000", "num.partitions": "2" },
  });
  assert.deepEqual(await liveBrokers("127.0.0.1", broker.port), [{ id: 1, host: "proxy.test", port: broker.port + 30_000 }]);
  assert.equal(broker.settings["group.consumer.session.timeout.ms"], "7000");
  assert.equal(broker.settings["num.partitions"], "2");
  assert.equal(broker.settings["group.initial.rebalance.delay.ms"], "0");
});

test("nats tells its clients the advertised address, and has the settings that were asked for", { timeout: 120_000 }, async () => {
  await using broker = await startBroker("nats", { advertise, settings: { max_payload: "2048", "jetstream.max_file": "1GB" } });
  const info = await answerTo(broker.port, "", "\r\n");
  assert.match(info, new RegExp(`"host":"proxy\\.test","port":${broker.port + 30_000}`));
  assert.match(info, /"max_payload":2048/);
});

test("redis in cluster mode names the advertised address", { timeout: 120_000 }, async () => {
  await using broker = await startBroker("redis", { advertise, settings: { "cluster-enabled": "yes", maxmemory: "8mb" } });
  assert.match(await answerTo(broker.port, "CLUSTER NODES\r\n", "myself"), new RegExp(`proxy\\.test:${broker.port + 30_000}`));
  assert.match(await answerTo(broker.port, "CONFIG GET maxmemory\r\n", "8388608"), /maxmemory/);
});

test("postgres has the settings that were asked for", { timeout: 120_000 }, async () => {
  await using broker = await startBroker("postgres", { settings: { DateStyle: "German" } });
  const greeting = "\0\0\0\x29\0\x03\0\0user\0postgres\0database\0postgres\0\0";
  assert.equal(greeting.length, 0x29);
  assert.match(await answerTo(broker.port, greeting, "TimeZone"), /DateStyle\0German/);
  assert.equal(broker.settings["DateStyle"], "German");
});

test("rabbitmq4 has the settings that were asked for, and a management port", { timeout: 120_000 }, async () => {
  await using broker = await startBroker("rabbitmq4", { settings: { "vm_memory_high_watermark.absolute": "123MB" } });
  const headers = { authorization: `Basic ${Buffer.from("guest:guest").toString("base64")}` };
  await until("the management plugin has the node's figures", 20_000, async () => {
    const response = await fetch(`http://127.0.0.1:${broker.nodes[0]?.ports["management"]}/api/nodes`, { headers });
    const [node] = (await response.json()) as { mem_limit?: number }[];
    return node?.mem_limit === 123_000_000;
  });
});

test("a setting that the server refuses ends in an error with its log, and leaves nothing", { timeout: 120_000 }, async () => {
  await assert.rejects(
    startBroker("redis", { settings: { "no-such-setting": "1" } }),
    /Redis 7\.0, node 1 ended while it started:[^]*no-such-setting/,
  );
  await assertNothingLeft(folder.path, []);
});
