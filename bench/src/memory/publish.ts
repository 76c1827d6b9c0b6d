import type { Bench } from "../bench.ts";
import { collect } from "../collect.ts";
import { inRounds } from "../readings.ts";
import { bodyOf, openTraffic } from "./traffic.ts";

/** The core's own speed: nothing is encoded, stored or sent. */
export const memoryPublish: Bench = {
  name: "memory-publish",
  goals: [{ name: "memory-publish", unit: "msg/s", goal: 1_000_000, atLeast: true }],
  figures: [],
  processes: 5,
  rounds: 5,
  async measure({ rounds, scale }) {
    const traffic = await openTraffic({ body: bodyOf(285) });
    const readings = await inRounds(rounds, async (record) => {
      collect();
      record.add("memory-publish", await traffic.publish(300_000 * scale));
    });
    await traffic.close();
    return readings;
  },
};
