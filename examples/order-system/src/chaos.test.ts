import assert from "node:assert/strict";
import { test } from "node:test";
import { createChaos, pace } from "./chaos.ts";
import type { ServiceName } from "./contracts.ts";
import { serviceNames } from "./contracts.ts";
import type { Moment } from "./ipc.ts";
import { randomOf } from "./seed.ts";

/** Services that reach every moment at once, and have orders as long as `orders` says. */
async function kill(options: {
  readonly kills: number;
  readonly sabotage?: "ack-early" | "skip-inbox" | "drop-outbox";
  readonly orders?: () => number;
}) {
  const stop = new AbortController();
  const killed: { service: ServiceName; moment: Moment | "any" }[] = [];
  let restarts = 0;
  const progress = new Map<ServiceName, number>(serviceNames.map((name) => [name, 0]));
  const chaos = createChaos({
    random: randomOf(3),
    sabotage: options.sabotage,
    unfinished: () => Promise.resolve(options.orders?.() ?? 1),
    progressOf: (service) => progress.get(service) ?? 0,
    whenReady: () => Promise.resolve(true),
    arm(service, moment) {
      setImmediate(() => chaos.reached(service));
      assert.ok(moment.length > 0);
      return true;
    },
    kill: () => true,
    restartServer: async () => void (restarts += 1),
    enough: () => false,
    onKill(service, moment) {
      killed.push({ service, moment });
      for (const name of serviceNames) progress.set(name, (progress.get(name) ?? 0) + 1);
      if (killed.length === options.kills) stop.abort();
    },
  });
  await Promise.race([chaos.run(stop.signal), new Promise((resolve) => setTimeout(resolve, 20_000).unref())]);
  return Object.assign(killed, { restarts });
}

test("every service is killed, at more than one moment", async () => {
  const killed = await kill({ kills: 16 });
  assert.deepEqual(new Set(killed.map(({ service }) => service)), new Set(serviceNames));
  assert.ok(new Set(killed.map(({ moment }) => moment)).size >= 3);
});

test("the server is killed as well, less often", async () => {
  assert.equal((await kill({ kills: 16 })).restarts, 2);
});

test("a sabotage is killed where it shows", async () => {
  assert.deepEqual((await kill({ kills: 1, sabotage: "drop-outbox" }))[0], { service: "shop", moment: "committed" });
  assert.equal((await kill({ kills: 1, sabotage: "ack-early" }))[0]?.moment, "before");
  assert.equal((await kill({ kills: 1, sabotage: "skip-inbox" }))[0]?.moment, "committed");
});

test("nothing is killed while no order is under way", async () => {
  let asked = 0;
  const killed = await kill({ kills: 1, orders: () => (++asked > 5 ? 1 : 0) });
  assert.equal(killed.length, 1);
  assert.equal(asked, 6);
});

test("the pace leaves orders for every kill", () => {
  for (const total of [1, 7, 21, 300, 20_000]) {
    for (let kills = 0; kills < 20; kills++) {
      const allowed = pace(total, kills, 20);
      assert.ok(allowed >= 1 && (allowed < total || total <= 20), `${total} ${kills} ${allowed}`);
      assert.ok(allowed <= pace(total, kills + 1, 20));
    }
    assert.equal(pace(total, 20, 20), Number.POSITIVE_INFINITY);
  }
  assert.equal(pace(undefined, 3, 20), 40);
});
