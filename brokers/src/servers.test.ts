import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { environmentName } from "./environment.ts";
import { assertNothingLeft, isOpen, privateFolder } from "./private-folder.fixture.ts";
import { servers } from "./servers.ts";
import { startBroker, type BrokerName, type BrokerNode } from "./index.ts";

const folder = privateFolder();
after(() => folder.remove());

const versions: Readonly<Record<BrokerName, RegExp>> = {
  rabbitmq: /^3\.10\./,
  rabbitmq4: /^4\.0\./,
  kafka: /^4\.1\./,
  redis: /^7\.0\./,
  redis8: /^8\.0\./,
  valkey: /^8\.1\./,
  nats: /^2\.15\./,
  postgres: /^15\./,
};

function answers(name: BrokerName, node: BrokerNode): Promise<boolean> {
  return servers[name].ask(new URL(`${name}://127.0.0.1:${node.port}`)).then(
    () => true,
    () => false,
  );
}

/** A frozen process still has its port open, but says nothing. */
async function isSilent(name: BrokerName, node: BrokerNode): Promise<boolean> {
  assert.equal(await isOpen(node.port), true);
  const answered = answers(name, node);
  return Promise.race([answered.then((yes) => !yes), new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 300))]);
}

describe("a server", { concurrency: 2 }, () => {
  for (const name of Object.keys(versions) as BrokerName[]) {
    test(`${name} is stopped, killed, frozen and started again, and leaves nothing`, { timeout: 300_000 }, async (t) => {
      const given = process.env[environmentName(name)] !== undefined;
      if (given && process.env["BROKERS"] === "available") return t.skip(`not tested: ${environmentName(name)} is not ours to stop`);
      assert.equal(given, false, `${environmentName(name)} is not ours to stop (BROKERS=available allows that this is not tested)`);
      const broker = await startBroker(name);
      const [node] = broker.nodes;
      assert.ok(node);
      try {
        assert.match(broker.version, versions[name]);
        assert.equal(broker.mine, true);
        assert.equal(new URL(broker.url).port, String(node.port));
        assert.equal(await answers(name, node), true);

        node.pause();
        assert.equal(await isSilent(name, node), true);
        node.resume();
        await node.start(); // it runs: waits until it answers
        assert.equal(await answers(name, node), true);

        await node.stop();
        assert.equal(await isOpen(node.port), false);
        await node.start();
        assert.equal(await answers(name, node), true);

        node.pause();
        await node.kill();
        assert.equal(await isOpen(node.port), false);
        await node.start();
        assert.equal(await answers(name, node), true);
      } finally {
        await broker[Symbol.asyncDispose]();
        await broker[Symbol.asyncDispose]();
      }
      for (const port of [node.port, ...Object.values(node.ports)]) assert.equal(await isOpen(port), false);
    });
  }
});

test("no process and no file is left of any", async () => {
  await assertNothingLeft(folder.path, []);
});
