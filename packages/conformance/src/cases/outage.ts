import assert from "node:assert/strict";
import { event, isWaybillError } from "@waybill/core";
import { openBus } from "../buses.ts";
import type { Case, Need } from "../case.ts";
import { recoverMs, ride } from "../ride.ts";
import type { Harm } from "../ride.ts";
import type { Rig } from "../rig.ts";
import type { Broker } from "../target.ts";
import { flood } from "./bus-publish.ts";

const works: readonly Need[] = ["settle", "groups"];
const repeated = (harm: Harm, times: number): readonly Harm[] => Array.from({ length: times }, () => harm);

const kill = ({ faults }: Broker): Harm => ({ name: "kill -9", begin: () => faults.kill?.(), lastsMs: 0, end: () => faults.start?.() });
const freeze = ({ faults }: Broker, frozenMs: number): Harm => ({
  name: `frozen for ${frozenMs} ms`,
  begin: () => faults.pause?.(),
  lastsMs: frozenMs,
  end: () => faults.resume?.(),
});

/** Freezing longer than any watchdog waits; the last two are of the larger counts alone. */
const longFreezesMs = [65_000, 300_000, 1_800_000];
export const longFreeze = (frozenMs: number): string => `C03 C01 D01 the server stands still for ${frozenMs / 1_000} s, and all goes on`;

/** Of the server: cases of the same server cannot run beside them. */
export const outageCases: readonly Case[] = [
  {
    name: "P01 P05 D01 C01 C04 C05 C06 P18 the server goes away and comes back: all goes on, who starts meanwhile waits, who closes keeps its deadline",
    needs: [...works, "fault:stop", "fault:start"],
    deadlineMs: 120_000,
    async prove(rig) {
      const broker = await rig.freshBroker();
      const leaving = await toLeave(rig, broker);
      let early: { arrived(): Promise<void> } | undefined;
      const away: Harm = {
        name: "away",
        begin: () => broker.faults.stop?.(),
        lastsMs: rig.scale(1_000, 65_000),
        async end() {
          early = await startEarly(rig, broker);
          await leaving.leave();
          await broker.faults.start?.();
        },
      };
      const again: Harm = { name: "restarted", begin: () => broker.faults.stop?.(), lastsMs: 0, end: () => broker.faults.start?.() };
      await ride(rig, { broker, harms: [away, ...repeated(again, rig.scale(0, 99))], others: rig.scale(20, 200) });
      await early?.arrived();
    },
  },
  {
    name: "P01 P05 D01 C01 the server is killed (kill -9) while messages are published and handled",
    needs: [...works, "keeps", "fault:kill", "fault:start"],
    deadlineMs: 120_000,
    async prove(rig) {
      const broker = await rig.freshBroker();
      await ride(rig, { broker, harms: repeated(kill(broker), rig.scale(1, 100)) });
    },
  },
  {
    name: "C03 C01 D01 the server stands still for 1 s and for 15 s, and all goes on",
    needs: [...works, "fault:pause", "fault:resume"],
    deadlineMs: 90_000,
    async prove(rig) {
      const broker = await rig.freshBroker();
      await ride(rig, { broker, harms: [freeze(broker, 1_000), freeze(broker, 15_000)] });
    },
  },
  ...longFreezesMs.map((frozenMs): Case => ({
    name: longFreeze(frozenMs),
    needs: [...works, "fault:pause", "fault:resume"],
    long: true,
    deadlineMs: frozenMs + 60_000,
    async prove(rig) {
      const broker = await rig.freshBroker();
      await ride(rig, { broker, harms: [freeze(broker, frozenMs)] });
    },
  })),
  {
    name: "P17 a server that takes nothing more bounds memory, and what is too much is refused",
    needs: ["fault:block", "fault:unblock"],
    deadlineMs: 60_000,
    async prove(rig) {
      const broker = await rig.freshBroker();
      const { block, unblock } = broker.faults;
      await flood(rig, { broker, publish: { timeout: "1h" } }, { hold: () => block?.(), release: () => unblock?.() });
    },
  },
];

/** What a transport may take to close when nobody answers, beside the drain. */
const closeMs = 10_000;

/** A bus that publishes and has a handler under way. It is to leave when nobody answers any more: in its time, with everything settled. */
export async function toLeave(rig: Rig, broker: Broker): Promise<{ leave(): Promise<void> }> {
  const contract = event<number>(rig.unique("leaving"));
  let running = 0;
  const bus = await openBus(rig, { broker, publish: { timeout: "1h" } }, (one) => {
    one.subscribe(contract, { group: "g", concurrency: 4, timeout: "1h" }, async (_, ctx) => {
      running += 1;
      await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
    });
  });
  await bus.publish(contract, 0);
  await rig.until("a handler", () => running > 0);
  return {
    async leave() {
      const outcomes = Array.from({ length: 50 }, (_, number) =>
        bus.publish(contract, number).then(
          () => undefined,
          (error: unknown) => error,
        ),
      );
      await rig.within("close", bus.close({ drain: "1s" }), 1_000 + closeMs + 2_000);
      for (const outcome of await rig.within("every publish", Promise.all(outcomes), 1_000))
        assert(isWaybillError(outcome), `a publish that nobody can have confirmed: ${String(outcome)}`);
      await rig.within("a second close", bus.close());
    },
  };
}

/** A consumer whose server is not there: it waits for it, and says so. */
async function startEarly(rig: Rig, broker: Broker): Promise<{ arrived(): Promise<void> }> {
  const contract = event<number>(rig.unique("early"));
  const handled: number[] = [];
  const bus = await openBus(rig, { broker, start: false }, (early) => {
    early.subscribe(contract, { group: "g" }, (number) => void handled.push(number));
  });
  let started = false;
  const start = bus.start().then(() => (started = true));
  const begun = performance.now();
  await rig.until("a while", () => performance.now() - begun > 1_000);
  assert(!started, "started, and there is no server");
  assert(!bus.status().healthy, "healthy, and there is no server");
  return {
    async arrived() {
      await rig.within("the start", start, 2 * recoverMs);
      await rig.within("a publish", bus.publish(contract, 7));
      await rig.until("its message", () => handled.includes(7));
    },
  };
}
