import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { assertNothingLeft, isOpen, privateFolder } from "./private-folder.fixture.ts";
import { servers } from "./servers.ts";
import { startBroker, type BrokerName } from "./index.ts";

const folder = privateFolder();
after(() => folder.remove());

describe("three nodes", { concurrency: 1 }, () => {
  for (const name of ["rabbitmq", "rabbitmq4", "kafka", "nats"] as const satisfies BrokerName[]) {
    test(`${name}: one is killed, the others serve, it comes back`, { timeout: 300_000 }, async () => {
      const told: number[] = [];
      const advertise = (index: number, port: number): { host: string; port: number } => {
        told[index] = port;
        return { host: "127.0.0.1", port };
      };
      await using broker = await startBroker(name, { nodes: 3, advertise });
      assert.equal(broker.nodes.length, 3);
      assert.deepEqual(
        told,
        broker.nodes.map((node) => node.port),
      );
      const [first, ...others] = broker.nodes;
      assert.ok(first);
      await first.kill();
      assert.equal(await isOpen(first.port), false);
      for (const node of others) await servers[name].ask(new URL(`${name}://127.0.0.1:${node.port}`));
      await first.start();
      await servers[name].ask(new URL(`${name}://127.0.0.1:${first.port}`));
    });
  }
});

test("a server without clusters says so", async () => {
  await assert.rejects(startBroker("redis", { nodes: 3 }), /only rabbitmq, rabbitmq4, kafka and nats/);
});

test("no process and no file is left of any", async () => {
  await assertNothingLeft(folder.path, []);
});
