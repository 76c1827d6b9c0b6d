import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { prepareBrokers, type BrokersOptions } from "./test-brokers.ts";

function project(t: TestContext): string {
  const root = mkdtempSync(join(tmpdir(), "project-"));
  t.after(() => rmSync(root, { recursive: true }));
  for (const [name, brokers] of [
    ["core", undefined],
    ["rabbitmq", ["rabbitmq", "rabbitmq4"]],
    ["kafka", ["kafka"]],
  ] as const) {
    mkdirSync(join(root, "packages", name), { recursive: true });
    writeFileSync(join(root, "packages", name, "package.json"), JSON.stringify(brokers === undefined ? {} : { waybill: { brokers } }));
  }
  return root;
}

async function prepare(t: TestContext, over: Partial<BrokersOptions> = {}) {
  const root = project(t);
  const files = ["core/src/a.test.ts", "rabbitmq/src/b.test.ts", "kafka/src/c.test.ts"].map((file) => join(root, "packages", file));
  const installed: string[] = [];
  const install = async (name: string): Promise<void> => {
    installed.push(name);
    if (name === "kafka") throw new Error("no Java");
  };
  const options = { root, install, addressOf: () => undefined, env: {}, print: () => undefined, ...over };
  return { files, installed, prepared: await prepareBrokers(files, options) };
}

test("a server that cannot be had fails the run, and its tests are not run", async (t) => {
  const { files, installed, prepared } = await prepare(t);
  assert.deepEqual(installed, ["rabbitmq", "rabbitmq4", "kafka"]);
  assert.deepEqual(prepared.files, files.slice(0, 2));
  assert.deepEqual(prepared.failures, ["not tested: kafka, which is not here (1 files)"]);
});

test("BROKERS=available goes on without it, and says so", async (t) => {
  const { prepared } = await prepare(t, { env: { BROKERS: "available" } });
  assert.deepEqual(prepared.failures, []);
  assert.deepEqual(prepared.notTested, ["kafka, which is not here (1 files)"]);
  await assert.rejects(prepare(t, { env: { BROKERS: "some" } }), /all .* or available/);
});

test("with an address in the environment what stops the server is not tested", async (t) => {
  const addressOf = (name: string): string | undefined => (name === "rabbitmq" ? "WAYBILL_RABBITMQ_URL" : undefined);
  const { prepared } = await prepare(t, { addressOf, install: async () => undefined });
  assert.equal(prepared.files.length, 3);
  assert.deepEqual(prepared.failures, ["not tested: what stops or kills rabbitmq, which is the one of WAYBILL_RABBITMQ_URL"]);
});
