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

const restart = ({ faults }: Broker, awayMs: number): Harm => ({
  name: `away for ${awayMs} ms`,
  begin: () => faults.stop?.(),
  lastsMs: awayMs,
  end: () => faults.start?.(),
});
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
    name: "P01 P05 D01 C01 C04 C05 the server is restarted while messages are published and handled",
    needs: [...works, "fault:stop", "fault:start"],
    deadlineMs: 120_000,
    async prove(rig) {
      const broker = await rig.freshBroker();
      await ride(rig, { broker, harms: repeated(restart(broker, 0), rig.scale(1, 100)), others: rig.scale(20, 200) });
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
    name: "C01 C06 P17 the server is away for longer, nothing is thrown at the process, memory stays bounded",
    needs: [...works, "fault:stop", "fault:start"],
    deadlineMs: 60_000,
    async prove(rig) {
      const broker = await rig.freshBroker();
      await ride(rig, { broker, harms: [restart(broker, rig.scale(3_000, 65_000))] });
    },
  },
  {
    name: "C01 a consumer that is started before its server waits for it",
    needs: [...works, "fault:stop", "fault:start"],
    async prove(rig) {
      const broker = await rig.freshBroker();
      const contract = event<number>(rig.unique("early"));
      const handled: number[] = [];
      await broker.faults.stop?.();
      const bus = await openBus(rig, { broker, start: false }, (early) => {
        early.subscribe(contract, { group: "g" }, (number) => void handled.push(number));
      });
      let started = false;
      const start = bus.start().then(() => (started = true));
      const begun = performance.now();
      await rig.until("a while", () => performance.now() - begun > rig.scale(1_000, 65_000), 70_000);
      assert(!started, "started, and there is no server");
      assert(!bus.status().healthy, "healthy, and there is no server");
      await broker.faults.start?.();
      await rig.within("the start", start, 2 * recoverMs);
      await rig.within("a publish", bus.publish(contract, 7));
      await rig.until("its message", () => handled.includes(7));
      rig.saw(1);
    },
  },
  {
    name: "P18 P03 C06 close keeps its deadline while the server is away",
    needs: [...works, "fault:stop", "fault:start"],
    async prove(rig) {
      const broker = await rig.freshBroker();
      await closing(rig, broker, () => broker.faults.stop?.());
      await broker.faults.start?.();
    },
  },
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

/** Publishes and a handler are under way when `harm` is done; then the close takes its time and no more, and everything is settled. */
export async function closing(rig: Rig, broker: Broker, harm: () => Promise<void> | void): Promise<void> {
  const contract = event<number>(rig.unique("leaving"));
  let running = 0;
  const bus = await openBus(rig, { broker, publish: { timeout: "1h" } }, (one) => {
    one.subscribe(contract, { group: "g", concurrency: 4 }, async (_, ctx) => {
      running += 1;
      await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
    });
  });
  await bus.publish(contract, 0);
  await rig.until("a handler", () => running > 0);
  await harm();
  const outcomes = Array.from({ length: 50 }, (_, number) =>
    bus.publish(contract, number).then(
      () => undefined,
      (error: unknown) => error,
    ),
  );
  const begun = performance.now();
  await rig.within("close", bus.close({ drain: "1s" }), 1_000 + closeMs + 2_000);
  assert(performance.now() - begun >= 900, "the drain was not waited for");
  for (const outcome of await rig.within("every publish", Promise.all(outcomes), 1_000))
    assert(isWaybillError(outcome), `a publish that nobody can have confirmed: ${String(outcome)}`);
  await rig.within("a second close", bus.close());
  rig.saw(51);
}
