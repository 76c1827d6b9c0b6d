import assert from "node:assert/strict";
import { event } from "@waybill/core";
import type { Clock, Contract } from "@waybill/core";
import { openBus } from "../buses.ts";
import type { Case } from "../case.ts";
import { message, publishAll } from "../rig.ts";
import { ids, subscribe } from "../taker.ts";
import { delivery, used } from "./bus-publish.ts";
import { group, lastOne, offered } from "./publish.ts";

export const livenessCases: readonly Case[] = [
  {
    name: "a timer fires within 50 ms under full load",
    needs: ["groups"],
    async prove(rig) {
      const contract = event<number>(rig.unique("load"));
      let handled = 0;
      const bus = await openBus(rig, {}, (bus) => {
        bus.subscribe(
          contract,
          { group: "g", concurrency: 32, credit: { messages: 1_000 }, ...delivery(rig) },
          async () => void (handled += 1),
        );
      });
      const worst: number[] = [];
      // Starvation shows in every round; a long collection of garbage, hardly in all.
      for (let round = 0; round < 4 && (worst.length === 0 || Math.min(...worst) > 50); round += 1) worst.push(await loaded(bus, contract));
      assert(Math.min(...worst) <= 50, `a timer was ${worst.map((ms) => ms.toFixed(0)).join(", ")} ms late`);
      rig.saw(handled);
    },
  },
  {
    name: "C09 a slow consumer does not grow the process",
    needs: ["groups"],
    deadlineMs: 60_000,
    async prove(rig) {
      const topic = rig.unique("slow");
      const contract = event<Uint8Array>(topic, { contentType: "application/octet-stream" });
      let handled = 0;
      const bus = await openBus(rig, {}, (bus) => {
        bus.subscribe(contract, { group: "g", concurrency: 2, credit: { messages: 50 }, ...delivery(rig) }, async () => {
          await new Promise((resolve) => setTimeout(resolve, 2));
          handled += 1;
        });
      });
      const before = await used();
      const count = rig.scale(20_000, 100_000);
      for (let at = 0; at < count; at += 500)
        await bus.publishMany(
          contract,
          Array.from({ length: 500 }, () => new Uint8Array(1_024)),
        );
      const grownMiB = ((await used()) - before) / 2 ** 20;
      // A broker in this process keeps the bodies here; beyond them there is little.
      assert(grownMiB < 256, `${grownMiB.toFixed(0)} MiB above the start`);
      assert((bus.status().subscriptions[0]?.unsettled ?? 0) <= 50, "more in hand than its credit");
      const counters = bus.metrics().groups[topic]?.["g"];
      if (!offered(rig, "settle")) assert((counters?.dropped ?? 0) > 0, "what a slow consumer misses is counted");
      assert(handled > 0);
      await bus.close({ drain: 200 });
      rig.saw(count);
    },
  },
  {
    name: "C12 nothing is left open after many connections and subscriptions",
    deadlineMs: 60_000,
    async prove(rig) {
      const topic = rig.unique("leak");
      const member = group(rig);
      const cycle = async (times: number): Promise<void> => {
        for (let round = 0; round < times; round += 1) {
          const transport = rig.raw();
          await transport.connect({ signal: AbortSignal.timeout(rig.waitMs), onStatus: () => undefined });
          for (let at = 0; at < 10; at += 1) {
            const taker = await subscribe(rig, transport, { topic, group: member });
            await taker.close();
          }
          await transport.close();
        }
      };
      await cycle(3);
      const settle = async (): Promise<number> => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        return process.getActiveResourcesInfo().filter((name) => name !== "Timeout" && name !== "Immediate").length;
      };
      const before = await settle();
      const times = rig.target.processes ? rig.scale(20, 300) : rig.scale(200, 1_000);
      // What leaks, leaks in every round; what is made once (compiled code, tables) does not.
      const grown: number[] = [];
      for (let round = 0; round < 3 && (round === 0 || Math.min(...grown) >= 64 * 1_024); round += 1) {
        const heap = await used();
        await cycle(times);
        await rig.until("as many resources as before", async () => (await settle()) <= before);
        grown.push(((await used()) - heap) / times);
      }
      assert(Math.min(...grown) < 64 * 1_024, `${grown.map((bytes) => Math.round(bytes / 1_024)).join(", ")} KiB a cycle`);
      rig.saw(times * 10);
    },
  },
  {
    name: "C13 a wall clock that jumps an hour ends no lease and loses no delay",
    needs: ["settle", "lease", "retry", "groups"],
    unless: (rig) => (rig.target.clocked === true ? undefined : "the target keeps time by the system's clock"),
    async prove(rig) {
      let jumpMs = 0;
      const clock: Clock = {
        now: () => Date.now() + jumpMs,
        monotonic: () => performance.now(),
        after(delayMs, run) {
          const timer = setTimeout(run, delayMs);
          timer.unref();
          return { cancel: () => clearTimeout(timer) };
        },
      };
      const broker = await rig.freshBroker(clock);
      const transport = await rig.transport(broker);
      const topic = rig.unique("jump");
      const member = rig.unique("g");
      const holder = await subscribe(rig, transport, { topic, group: member, leaseMs: 5_000 });
      const other = await subscribe(rig, transport, { topic, group: member, leaseMs: 5_000, credit: { messages: 0, bytes: 0 } });
      await publishAll(rig, transport, [message(rig, topic, { key: "held" }), message(rig, topic, { key: "retried" })]);
      const [held, retried] = await holder.take(2);
      assert(held !== undefined && retried !== undefined);
      holder.subscription.credit({ messages: 1, bytes: 1 << 20 });
      await holder.settle([{ kind: "retry", delivery: retried, delayMs: 100, note: undefined }]);
      other.subscription.credit({ messages: 10, bytes: 1 << 20 });
      for (const jump of [3_600_000, -3_600_000, 0]) {
        jumpMs = jump;
        await publishAll(rig, transport, [message(rig, topic, { key: `at ${jump}` })]);
      }
      await rig.until("the retried one", () => ids(other.got).includes(retried.message.id), 5_000);
      assert(!ids(other.got).includes(held.message.id), "the jump ended a lease");
      assert.deepEqual(await holder.ack(held), ["done"]);
      await other.ack(...other.got);
      const made = new Set<string>();
      const bus = await openBus(rig, { broker, clock });
      for (const jump of [0, 3_600_000, -3_600_000]) {
        jumpMs = jump;
        for (let at = 0; at < 500; at += 1) made.add((await bus.publish(event(rig.unique("ids")), at)).id);
      }
      assert.equal(made.size, 1_500, "an id came twice");
      rig.saw(5);
    },
  },
  {
    name: "C14 M03 a full disk refuses for certain, loses nothing, and goes on when there is room again",
    needs: ["keeps", "settle", "fault:fillDisk"],
    deadlineMs: 60_000,
    async prove(rig) {
      const broker = await rig.freshBroker();
      const transport = await rig.transport(broker);
      const topic = rig.unique("full");
      const member = rig.unique("g");
      const first = await subscribe(rig, transport, { topic, group: member });
      await first.close();
      const kept: string[] = [];
      const refused: string[] = [];
      const fill = async (count: number): Promise<void> => {
        for (let at = 0; at < count; at += 1) {
          const batch = Array.from({ length: 20 }, () => message(rig, topic, { key: "k", body: new Uint8Array(8_192) }));
          const outcomes = await rig.within("publish", transport.publish(batch, { signal: AbortSignal.timeout(rig.waitMs) }));
          for (const [index, outcome] of outcomes.entries()) {
            const { id } = batch[index] ?? { id: "" };
            if (outcome.ok) kept.push(id);
            else {
              assert.equal(outcome.error.code, "DISK_FULL");
              assert.equal(outcome.error.certainty, "definite");
              refused.push(id);
            }
          }
        }
      };
      await fill(5);
      const free = await broker.faults.fillDisk?.();
      await fill(20);
      assert(refused.length > 0, "the disk is full, and nothing is refused");
      await free?.();
      const before = kept.length;
      await rig.until("publishes go on", async () => (await fill(1), kept.length > before));
      await transport.close();
      const again = await rig.transport(broker);
      const taker = await subscribe(rig, again, { topic, group: member }, { ack: true });
      await rig.until("all that was kept", () => taker.got.length >= kept.length);
      await lastOne(rig, again, topic, { ...taker, taken: () => kept.length, take: async () => taker.got.slice(kept.length) }, "k");
      assert.deepEqual(ids(taker.got.slice(0, kept.length)).toSorted(), kept.toSorted());
      rig.saw(kept.length + refused.length);
    },
  },
];

/**
 * The most that a timer was late, in one second of publishing and handling as fast as it goes: counted in this thread's own
 * processor time, so that only what this process does itself can delay it.
 */
async function loaded(bus: Awaited<ReturnType<typeof openBus>>, contract: Contract<number>): Promise<number> {
  const until = performance.now() + 1_000;
  let worst = 0;
  const publishers = Array.from({ length: 500 }, async () => {
    while (performance.now() < until) await bus.publish(contract, 1);
  });
  const watch = (async () => {
    while (performance.now() < until) {
      const [due, begun] = [performance.now() + 5, busyMs()];
      await new Promise((resolve) => setTimeout(resolve, 5));
      worst = Math.max(worst, Math.min(performance.now() - due, busyMs() - begun));
    }
  })();
  await Promise.all([...publishers, watch]);
  return worst;
}

function busyMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}
