import assert from "node:assert/strict";
import { event } from "@waybill/core";
import { openBus } from "../buses.ts";
import type { Case } from "../case.ts";
import { message, publish } from "../rig.ts";
import { subscribe } from "../taker.ts";

/** What it may take to find out that nobody delivers any more, and to put that right. */
const mendMs = 20_000;

export const wipedCases: readonly Case[] = [
  {
    name: "C04 C06 what topic and group are made of is deleted on the server: deliveries go on or end with an error, never in silence",
    needs: ["settle", "groups", "fault:wipe"],
    together: true,
    deadlineMs: 60_000,
    async prove(rig) {
      const broker = await rig.freshBroker();
      const topic = rig.unique("wiped");
      const contract = event<number>(topic);
      const handled: number[] = [];
      const bus = await openBus(rig, { broker, publish: { timeout: "2s" } }, (one) => {
        one.subscribe(contract, { group: "g" }, (number) => void handled.push(number));
      });
      await bus.publish(contract, 0);
      await rig.until("the first", () => handled.includes(0));
      for (let round = 1; round <= rig.scale(1, 20); round += 1) {
        const count = handled.length;
        await broker.faults.wipe?.(topic, "g");
        let next = round * 1_000;
        const failed = () => bus.status().subscriptions.find(({ state }) => state === "failed")?.error;
        await rig.until(
          "a delivery, or an error that says why there is none",
          async () => {
            next += 1;
            // Meanwhile there may be nowhere to put it.
            await bus.publish(contract, next).catch(() => undefined);
            await new Promise((resolve) => setTimeout(resolve, 50));
            return handled.length > count || failed() !== undefined;
          },
          mendMs,
        );
        if (failed() !== undefined) {
          assert(!bus.status().healthy, "it has failed, and is healthy");
          break;
        }
      }
      rig.saw(handled.length);
    },
  },
  {
    name: "P08 P01 a mandatory message whose destination was deleted is never confirmed",
    needs: ["mandatory", "groups", "fault:wipe"],
    together: true,
    async prove(rig) {
      const broker = await rig.freshBroker();
      const topic = rig.unique("gone");
      const transport = await rig.transport(broker);
      const member = rig.unique("g");
      const taker = await subscribe(rig, transport, { topic, group: member });
      await taker.close();
      const [before] = await publish(rig, transport, [message(rig, topic, { mandatory: true })]);
      assert.equal(before?.ok, true);
      await broker.faults.wipe?.(topic, member);
      const [after] = await publish(rig, transport, [message(rig, topic, { mandatory: true })]);
      assert(after?.ok === false, "confirmed, and there is no destination");
      rig.saw(2);
    },
  },
];
