import assert from "node:assert/strict";
import { after, beforeEach, test } from "node:test";
import { assertNothingLeft, privateFolder } from "./private-folder.fixture.ts";
import { installBroker, startBroker } from "./index.ts";

const folder = privateFolder();
const variable = "WAYBILL_REDIS_URL";
beforeEach(() => delete process.env[variable]);
after(() => folder.remove());

test("a server from the environment is used, and never stopped", { timeout: 120_000 }, async () => {
  await using mine = await startBroker("redis");
  process.env[variable] = mine.url;
  const given = await startBroker("redis");
  assert.equal(given.mine, false);
  assert.equal(given.port, mine.port);
  assert.equal(given.version, mine.version);
  assert.deepEqual(given.settings, {});
  const [node] = given.nodes;
  assert.ok(node);
  for (const refused of [() => node.stop(), () => node.kill(), () => node.start()])
    await assert.rejects(refused, /WAYBILL_REDIS_URL: it is not ours/);
  for (const refused of [() => node.pause(), () => node.resume()]) assert.throws(refused, /WAYBILL_REDIS_URL: it is not ours/);
  await given[Symbol.asyncDispose]();
  process.env[variable] = mine.url;
  assert.equal((await startBroker("redis")).port, mine.port);
});

test("settings, advertised addresses and more nodes than it has are refused", async () => {
  process.env[variable] = "redis://127.0.0.1:1";
  await assert.rejects(startBroker("redis", { settings: { maxmemory: "1mb" } }), /settings cannot be applied/);
  await assert.rejects(startBroker("redis", { advertise: (_index, port) => ({ host: "127.0.0.1", port }) }), /advertise cannot be applied/);
  process.env["WAYBILL_NATS_URL"] = "nats://127.0.0.1:1,127.0.0.1:2";
  await assert.rejects(startBroker("nats", { nodes: 3 }), /names 2 of the 3 nodes/);
  delete process.env["WAYBILL_NATS_URL"];
});

test("neither a wrong address nor a server that is away brings a credential into the error", async () => {
  for (const value of ["redis://user:secret@127.0.0.1:1", "redis://user:secret@host:port", "user:secret@127.0.0.1"]) {
    process.env[variable] = value;
    await assert.rejects(startBroker("redis"), (error: Error) => {
      assert.doesNotMatch(`${error.message} ${String(error.cause)}`, /secret/);
      return true;
    });
  }
});

test("nothing is installed for a server from the environment", async () => {
  process.env[variable] = "redis://127.0.0.1:1";
  await installBroker("redis");
});

test("nothing is left", async () => {
  await assertNothingLeft(folder.path, []);
});
