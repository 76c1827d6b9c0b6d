import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { event, isWaybillError } from "@waybill/core";
import type { PublishOutcome, Transport } from "@waybill/core";
import { around } from "../around.ts";
import { openBus } from "../buses.ts";
import type { BusChoices } from "../buses.ts";
import type { Case } from "../case.ts";
import type { Rig } from "../rig.ts";
import { offered } from "./publish.ts";

export const busPublishCases: readonly Case[] = [
  {
    name: "P03 a publish is refused before the start and after the close",
    async prove(rig) {
      const contract = event<string>(rig.unique("states"));
      const bus = await openBus(rig, { start: false });
      await assert.rejects(bus.publish(contract, "too early"), { code: "NOT_STARTED", certainty: "definite" });
      await bus.start();
      await rig.within("publish", bus.publish(contract, "in time"));
      await bus.close();
      await assert.rejects(bus.publish(contract, "too late"), { code: "CLOSED", certainty: "definite" });
      await rig.within("a second close", bus.close());
    },
  },
  {
    name: "P03 P05 a publish that gets no answer ends in time, and is indefinite",
    async prove(rig) {
      const gate = gated();
      const bus = await openBus(rig, { around: gate.around, publish: { timeout: 150 } });
      const contract = event<string>(rig.unique("silent"));
      gate.hold();
      const begun = performance.now();
      const failures = await Promise.all(
        Array.from({ length: 50 }, () =>
          rig.within(
            "the publish",
            bus.publish(contract, "x").catch((error: unknown) => error),
            5_000,
          ),
        ),
      );
      assert(performance.now() - begun < 4_000);
      for (const failure of failures) assert(isWaybillError(failure) && failure.code === "PUBLISH_TIMEOUT", String(failure));
      assert(
        failures.some((failure) => isWaybillError(failure) && failure.certainty === "indefinite"),
        "what was on its way may have happened",
      );
      gate.release();
      // A broker may take longer than that to make the topic.
      await rig.until("the next publish", () =>
        bus.publish(contract, "y").then(
          () => true,
          () => false,
        ),
      );
      rig.saw(51);
    },
  },
  {
    name: "P03 P18 close settles every publish: ok, or an error that says what it is",
    needs: ["groups"],
    async prove(rig) {
      const topic = rig.unique("closing");
      const contract = event<number>(topic);
      const seen = new Set<string>();
      const listener = await openBus(rig, {}, (bus) => {
        bus.subscribe(contract, { group: "g", concurrency: 50, ...delivery(rig) }, (_, ctx) => void seen.add(ctx.message.id));
      });
      for (const drain of ["5s", 0] as const) {
        const bus = await openBus(rig);
        const count = rig.scale(2_000, 20_000);
        const outcomes = Array.from({ length: count }, (_, number) =>
          bus.publish(contract, number).then(
            (sent) => sent.id,
            (error: unknown) => error,
          ),
        );
        await rig.within("close", bus.close({ drain }));
        const settled = await rig.within("every publish", Promise.all(outcomes), 2_000);
        const ok = settled.filter((outcome) => typeof outcome === "string");
        for (const outcome of settled) assert(typeof outcome === "string" || isWaybillError(outcome), String(outcome));
        if (drain !== 0) assert.equal(ok.length, count, "a drain leaves nothing unsent");
        if (offered(rig, "settle")) await rig.until("all that was ok", () => ok.every((id) => seen.has(id)));
        rig.saw(count);
      }
      await listener.close();
    },
  },
  {
    name: "P17 a blocked transport bounds memory, and refuses what is too much",
    deadlineMs: 60_000,
    async prove(rig) {
      const gate = gated();
      await flood(rig, { around: gate.around, publish: { timeout: "1h" } }, { hold: gate.hold, release: gate.release });
    },
  },
];

/** Far more is published than there is room for, while `hold` lasts: memory is bounded, what is too much refused, the rest sent after it. */
export async function flood(
  rig: Rig,
  choices: BusChoices,
  gate: { hold(): Promise<void> | void; release(): Promise<void> | void },
): Promise<void> {
  const bus = await openBus(rig, choices);
  const contract = event<Uint8Array>(rig.unique("blocked"), { contentType: "application/octet-stream" });
  await bus.publish(contract, new Uint8Array(1));
  await gate.hold();
  const before = await used();
  const callers = 1_000;
  const each = rig.scale(200, 1_000);
  let [refused, others] = [0, 0];
  const codes = new Set<string>();
  for (let caller = 0; caller < callers; caller += 1) {
    for (let at = 0; at < each; at += 1) {
      bus.publish(contract, new Uint8Array(1_024)).then(
        () => (others += 1),
        (error: unknown) => {
          codes.add(isWaybillError(error) ? `${error.code} ${error.certainty}` : String(error));
          refused += 1;
        },
      );
    }
    if (caller % 50 === 0) await new Promise(setImmediate);
  }
  await rig.until("the refusals", () => {
    const { buffered, waiting } = bus.status().publishing;
    return refused === callers * each - buffered - waiting;
  });
  assert.deepEqual([...codes], ["BUFFER_FULL definite"]);
  assert.equal(others, 0);
  const grownMiB = ((await used()) - before) / 2 ** 20;
  assert(grownMiB <= 64, `${grownMiB.toFixed(1)} MiB above the start`);
  const kept = callers * each - refused;
  await gate.release();
  await rig.until("what was kept", () => others === kept, 20_000);
  rig.saw(callers * each);
}

/** At most once has to be asked for by name where the transport cannot do better. */
export const delivery = (rig: Parameters<typeof offered>[0]): { readonly delivery?: "at-most-once" } =>
  offered(rig, "settle") ? {} : { delivery: "at-most-once" };

/** A transport whose publishes can be held back, whatever its broker can. */
export function gated(): { readonly around: (transport: Transport) => Transport; hold(): void; release(): void } {
  let open = Promise.withResolvers<void>();
  open.resolve();
  return {
    hold: () => void (open = Promise.withResolvers<void>()),
    release: () => open.resolve(),
    around: (transport) =>
      around(transport, {
        async publish(messages, options): Promise<readonly PublishOutcome[]> {
          await open.promise;
          return transport.publish(messages, options);
        },
      }),
  };
}

let collect: (() => void) | undefined;

/** Heap and external memory in bytes, after a collection. */
export async function used(): Promise<number> {
  if (collect === undefined) {
    setFlagsFromString("--expose-gc");
    collect = runInNewContext("gc") as () => void;
  }
  // What a collection frees may hold on to more until the loop has had a turn.
  for (let round = 0; round < 3; round += 1) {
    collect();
    await new Promise(setImmediate);
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
