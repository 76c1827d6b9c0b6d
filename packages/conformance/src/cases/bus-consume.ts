import assert from "node:assert/strict";
import { event, fixed } from "@waybill/core";
import type { Bus, Contract } from "@waybill/core";
import { openBus, watched } from "../buses.ts";
import type { Case } from "../case.ts";
import { assertValid } from "../crash-run.ts";
import { handleMiddleware } from "../recorder.ts";
import { offered } from "./publish.ts";

const turn = (): Promise<void> => new Promise(setImmediate);
/** 0, 1, 2 …: as many at a time as fit the publisher's buffer. */
async function publishNumbers(bus: Bus, contract: Contract<number>, count: number): Promise<void> {
  for (let from = 0; from < count; from += 1_000)
    await bus.publishMany(
      contract,
      Array.from({ length: Math.min(1_000, count - from) }, (_, at) => from + at),
    );
}
const pause = (delayMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, delayMs));

export const busConsumeCases: readonly Case[] = [
  {
    name: "D02 P01 T03 nothing is acknowledged before its handler is done, and the counters agree with the history",
    needs: ["settle"],
    async prove(rig) {
      const topic = rig.unique("early");
      const contract = event<number>(topic, { key: (number) => `k${number % 20}` });
      const watch = watched(rig);
      const count = rig.scale(2_000, 100_000);
      const bus = await openBus(rig, { around: watch.around }, (bus) => {
        bus.subscribe(
          contract,
          {
            group: "g",
            concurrency: 100,
            retry: { attempts: 3, backoff: fixed(5), deadLetter: true },
            middleware: [handleMiddleware(watch.recorder)],
          },
          async (number, ctx) => {
            if (rig.random() < 0.3) await pause(rig.random() * 5);
            if (number % 50 === 0) throw new Error("fails for good");
            if (number % 20 === 1 && ctx.attempt === 1) throw new Error("fails once");
          },
        );
      });
      await publishNumbers(bus, contract, count);
      const counters = () => bus.metrics().groups[topic]?.["g"];
      await rig.until("all handled", () => (counters()?.handled ?? 0) + (counters()?.deadLettered ?? 0) === count, 25_000);
      await bus.close();
      const verdict = watch.verdict();
      assertValid(verdict);
      const metrics = bus.metrics();
      const group = metrics.groups[topic]?.["g"];
      assert(group !== undefined);
      const confirmed = watch.records.filter(
        (record) => record.f === "send" && record.type === "ok" && record.dest === topic && record.group === undefined,
      );
      assert.equal(metrics.topics[topic]?.published, confirmed.length);
      assert.equal(group.delivered, verdict.counts.delivered);
      assert.equal(group.handled, verdict.counts.handled);
      assert.equal(group.failed, verdict.counts.handlerErrors);
      assert.equal(group.deadLettered, verdict.counts.deadLettered);
      assert.equal(group.deadLettered, count / 50);
      assert.equal(group.retried, group.failed - group.deadLettered);
      assert.equal(group.dropped + group.lost, 0);
      rig.saw(count);
    },
  },
  {
    name: "T03 at most once: published is handled plus counted as dropped",
    needs: ["groups"],
    async prove(rig) {
      const topic = rig.unique("counted");
      const contract = event<number>(topic);
      const sides = offered(rig, "settle") ? "at-least-once" : "at-most-once";
      const bus = await openBus(rig, {}, (bus) => {
        bus.subscribe(contract, { group: "g", delivery: sides, concurrency: 4 }, async () => turn());
      });
      const count = rig.scale(5_000, 50_000);
      await publishNumbers(bus, contract, count);
      const counters = () => bus.metrics().groups[topic]?.["g"];
      await rig.until("all handled or counted", () => (counters()?.handled ?? 0) + (counters()?.dropped ?? 0) === count, 20_000);
      assert.equal(bus.metrics().topics[topic]?.published, count);
      if (sides === "at-least-once") assert.equal(counters()?.dropped, 0);
      rig.saw(count);
    },
  },
  {
    name: "D12 stop: nothing begins after it, what runs is finished, the rest goes to another member",
    needs: ["settle"],
    async prove(rig) {
      const topic = rig.unique("stop");
      const contract = event<number>(topic, { key: (number) => `k${number}` });
      const handled: number[] = [];
      let running = 0;
      let stopped = false;
      const late: number[] = [];
      let handle: { stop(options?: { drain?: string }): Promise<void> } | undefined;
      const bus = await openBus(rig, {}, (bus) => {
        handle = bus.subscribe(contract, { group: "g", concurrency: 10 }, async (number) => {
          if (stopped) late.push(number);
          running += 1;
          await pause(5);
          running -= 1;
          handled.push(number);
        });
      });
      await bus.publishMany(
        contract,
        Array.from({ length: 400 }, (_, at) => at),
      );
      await rig.until("some handled", () => handled.length > 30);
      const stopping = handle?.stop({ drain: "5s" });
      await rig.within("stop", stopping ?? Promise.resolve());
      stopped = true;
      assert.equal(running, 0, "a handler runs on after the stop");
      const before = handled.length;
      assert(before < 400, "the stop waited for everything");
      await openBus(rig, {}, (other) => {
        other.subscribe(contract, { group: "g", concurrency: 50 }, (number) => void handled.push(number));
      });
      await rig.until("the rest", () => new Set(handled).size === 400);
      assert.deepEqual(late, [], "begun after the stop");
      assert.equal(handled.length, 400, "a clean stop leaves no duplicates");
      rig.saw(400);
    },
  },
  {
    name: "D14 D16 a message that always fails is tried so often, and dead-lettered once with its cause",
    needs: ["settle", "publishToGroup"],
    async prove(rig) {
      const topic = rig.unique("poison");
      const contract = event<number>(topic, { key: (number) => `k${number % 3}` });
      const tries = new Map<number, number[]>();
      const bus = await openBus(rig, {}, (bus) => {
        bus.subscribe(
          contract,
          { group: "g", concurrency: 5, retry: { attempts: 4, backoff: fixed(10), deadLetter: true } },
          (number, ctx) => {
            tries.set(number, [...(tries.get(number) ?? []), ctx.attempt]);
            if (number % 10 === 0) throw new Error("card refused");
          },
        );
      });
      await bus.publishMany(
        contract,
        Array.from({ length: 100 }, (_, at) => at),
      );
      const letters = bus.deadLetters(contract, { group: "g" });
      await rig.until("ten dead letters", async () => (await letters.count()) === 10);
      await rig.until("all others", () => tries.size === 100);
      for (const [number, attempts] of tries) assert.deepEqual(attempts, number % 10 === 0 ? [1, 2, 3, 4] : [1]);
      for (const { message, cause } of await letters.list()) {
        assert.equal(message.topic, topic, "with the topic it had");
        assert.equal(cause.attempts, 4);
        assert.equal(cause.code, "HANDLER");
        assert(cause.text.includes("card refused"));
        assert.equal(cause.group, "g");
        assert.equal(cause.topic, topic);
        assert(cause.lastFailureAt >= cause.firstFailureAt && cause.firstFailureAt > 0);
      }
      rig.saw(100);
    },
  },
  {
    name: "O07 handlers of one key never run together",
    needs: ["settle"],
    async prove(rig) {
      const topic = rig.unique("keyed");
      const contract = event<number>(topic, { key: (number) => `k${number % 16}` });
      const open = new Map<number, number>();
      const last = new Map<number, number>();
      const wrong: string[] = [];
      let most = 0;
      let running = 0;
      let handled = 0;
      const bus = await openBus(rig, {}, (bus) => {
        bus.subscribe(contract, { group: "g", concurrency: 64, orderBy: "key-in-process" }, async (number) => {
          const key = number % 16;
          running += 1;
          most = Math.max(most, running);
          if ((open.get(key) ?? 0) > 0) wrong.push(`key ${key} twice at once`);
          if ((last.get(key) ?? -1) > number) wrong.push(`key ${key} out of order`);
          open.set(key, 1);
          last.set(key, number);
          await pause(rig.random() * 2);
          open.set(key, 0);
          running -= 1;
          handled += 1;
        });
      });
      const count = rig.scale(1_000, 50_000);
      await publishNumbers(bus, contract, count);
      await rig.until("all handled", () => handled === count, rig.scale(25_000, 120_000));
      assert.deepEqual(wrong, []);
      assert(most > 4, `only ${most} handlers at once`);
      rig.saw(count);
    },
  },
  {
    name: "D10 D11 members come and go under load: nothing is lost, a clean leave repeats nothing",
    needs: ["settle", "groups"],
    deadlineMs: 60_000,
    async prove(rig) {
      const topic = rig.unique("members");
      const contract = event<number>(topic, { key: (number) => `k${number % 40}` });
      const watch = watched(rig);
      const seen = new Map<number, number>();
      const join = () =>
        openBus(rig, { around: watch.around }, (bus) => {
          bus.subscribe(contract, { group: "g", concurrency: 4, middleware: [handleMiddleware(watch.recorder)] }, async (number) => {
            await turn();
            seen.set(number, (seen.get(number) ?? 0) + 1);
          });
        });
      let members = [await join(), await join()];
      const publisher = await openBus(rig, { around: watch.around });
      const rounds = rig.scale(8, 20);
      for (let round = 0; round < rounds; round += 1) {
        const published = publisher.publishMany(
          contract,
          Array.from({ length: 200 }, (_, at) => round * 200 + at),
        );
        const [leaver, ...stay] = members;
        members = [...stay, await join()];
        await rig.within("a clean leave", leaver?.close({ drain: "10s" }) ?? Promise.resolve());
        await published;
      }
      await rig.until("all handled", () => seen.size === rounds * 200, 25_000);
      await Promise.all(members.map((member) => member.close({ drain: "10s" })));
      await publisher.close();
      assertValid(watch.verdict());
      assert.deepEqual(
        [...seen].filter(([, times]) => times > 1),
        [],
        "handled twice",
      );
      rig.saw(rounds * 200);
    },
  },
];
