import assert from "node:assert/strict";
import { event } from "@waybill/core";
import { startActor } from "../actors.ts";
import type { Actor } from "../actors.ts";
import { openBus } from "../buses.ts";
import type { Case } from "../case.ts";
import { checkHistory } from "../checker.ts";
import { assertValid, follow } from "../crash-run.ts";
import { historyVersion } from "../history.ts";
import type { HistoryEvent, UnsequencedRecord } from "../history.ts";
import { collector, inOrder } from "../recorder.ts";
import { message, publishAll } from "../rig.ts";
import type { Rig } from "../rig.ts";
import type { ConsumerScript } from "../script.ts";

/** What another member may take, from the kill -9 of a consumer to the last message that it had in hand. */
const takeoverMs = 10_000;
/** Longer than any session or lease of a target, twice. */
const slowMs = 13_000;

export const takeoverCases: readonly Case[] = [
  {
    name: "D01 C01 after the kill -9 of a consumer another member handles all that it had in hand within 10 s",
    needs: ["settle", "groups", "processes"],
    together: true,
    deadlineMs: 90_000,
    async prove(rig) {
      const team = await gather(rig);
      for (let round = 0; round < rig.scale(1, 10); round += 1) {
        const victim = team.join(2 * round, { handleMs: 60_000 });
        const heir = team.join(2 * round + 1, {});
        await rig.within("both members", Promise.all([victim.ready, heir.ready]), 30_000);
        // Who has just come has its share when the other one has let go of it.
        for (let tries = 0; tries < 20 && (tries === 0 || team.delivered(victim) === 0); tries += 1) {
          const before = team.delivered(victim) + team.delivered(heir);
          await team.publish(60);
          await rig.until("all handed out", () => team.delivered(victim) + team.delivered(heir) >= before + 60, 20_000);
        }
        assert(team.delivered(victim) > 0, "the member that is to die has nothing in hand");
        const killedAt = performance.now();
        victim.kill();
        await rig.until("all that it had in hand", () => team.drained(), takeoverMs + 20_000);
        const tookMs = performance.now() - killedAt;
        assert(tookMs <= takeoverMs, `taken over in ${Math.round(tookMs)} ms`);
        await rig.within("the end of the heir", heir.stop(), 20_000);
      }
      assertValid(await team.verdict());
    },
  },
  {
    name: "D09 D08 a slow handler of a living member keeps its message",
    needs: ["settle", "groups"],
    together: true,
    deadlineMs: 60_000,
    async prove(rig) {
      const contract = event<number>(rig.unique("slow"), { key: (number) => `k${number}` });
      const calls: number[] = [];
      let done = 0;
      const join = () =>
        openBus(rig, {}, (bus) => {
          bus.subscribe(contract, { group: "g", concurrency: 4, lease: "2s", timeout: 2 * slowMs }, async (number) => {
            calls.push(number);
            await new Promise((resolve) => setTimeout(resolve, rig.scale(slowMs, 3 * slowMs)));
            done += 1;
          });
        });
      const bus = await join();
      await join();
      await bus.publishMany(contract, [0, 1, 2, 3]);
      await rig.until("all handled", () => done === 4, rig.scale(slowMs, 3 * slowMs) + 15_000);
      assert.deepEqual(
        calls.toSorted((left, right) => left - right),
        [0, 1, 2, 3],
        "handed to another one while it was being handled",
      );
      rig.saw(4);
    },
  },
  {
    name: "D12 D11 P18 SIGTERM: a consumer finishes what it has begun, gives back the rest, and repeats nothing",
    needs: ["settle", "groups", "processes"],
    together: true,
    deadlineMs: 90_000,
    async prove(rig) {
      const team = await gather(rig);
      let member = team.join(0, { handleMs: 40 });
      await rig.within("the first consumer", member.ready, 20_000);
      for (let round = 1; round <= rig.scale(2, 20); round += 1) {
        const before = team.handled();
        await team.publish(150);
        await rig.until("some handled", () => team.handled() > before + 10, 20_000);
        const next = team.join(round, { handleMs: 40 });
        await rig.within("the next consumer", next.ready, 30_000);
        member.terminate();
        assert.equal(await rig.within("its end", member.exited, 20_000), "ended");
        member = next;
      }
      await rig.until("all handled", () => team.drained(), 30_000);
      await rig.within("the end of the last", member.stop(), 20_000);
      assertValid(await team.verdict());
      assert.deepEqual(team.handledTwice(), [], "handled twice");
    },
  },
];

interface Team {
  /** A consumer process of the one group. */
  join(inc: number, script: Partial<ConsumerScript>): Actor;
  publish(count: number): Promise<void>;
  /** How many messages this process was handed. */
  delivered(actor: Actor): number;
  handled(): number;
  handledTwice(): readonly string[];
  drained(): boolean;
  verdict(): Promise<ReturnType<typeof checkHistory>>;
}

async function gather(rig: Rig): Promise<Team> {
  const broker = await rig.freshBroker();
  const topic = rig.unique("team");
  const group = rig.unique("g");
  const history = collector();
  const index = follow(topic, group);
  const delivered = new Map<number, number>();
  const times = new Map<string, number>();
  const write = (record: UnsequencedRecord): void => {
    history.write(record);
    index.see(record);
    if (record.f !== "delivery" || record.dest !== topic) return;
    if (record.type === "delivered") delivered.set(record.inc, (delivered.get(record.inc) ?? 0) + 1);
    if (record.type === "handled-ok") times.set(record.msg, (times.get(record.msg) ?? 0) + 1);
  };
  const common = { run: topic, seed: rig.seed, topic };
  const publisher = await rig.transport(broker);
  let sent = 0;
  const note = (event: HistoryEvent): void =>
    write({ run: topic, seed: rig.seed, v: historyVersion, proc: "harness", inc: 0, tMono: Number(process.hrtime.bigint()), ...event });
  return {
    join: (inc, script) =>
      startActor(
        rig,
        broker,
        { ...common, role: "consumer", proc: "consumer", inc, group, concurrency: 50, leaseMs: 4_000, attempts: 5, ...script },
        write,
      ),
    async publish(count) {
      const messages = Array.from({ length: count }, () => {
        sent += 1;
        return message(rig, topic, { key: `k${sent % 10}`, body: { number: sent } });
      });
      const ops = messages.map(({ id, key = "" }) => ({ f: "send" as const, op: `harness.${id}`, msg: id, dest: topic, key }));
      for (const op of ops) note({ ...op, type: "invoke" });
      await publishAll(rig, publisher, messages);
      for (const op of ops) note({ ...op, type: "ok" });
      rig.saw(count);
    },
    delivered: (actor) => delivered.get(actor.script.inc) ?? 0,
    handled: () => times.size,
    handledTwice: () => [...times].filter(([, count]) => count > 1).map(([id]) => id),
    drained: () => index.drained(),
    async verdict() {
      note({ f: "drain", type: "end", reason: "complete" });
      return checkHistory(inOrder(history.records));
    },
  };
}
