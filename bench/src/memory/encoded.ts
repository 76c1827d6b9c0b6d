import type { Bench } from "../bench.ts";
import { collect } from "../collect.ts";
import { inRounds } from "../readings.ts";
import { bodyOf, openTraffic } from "./traffic.ts";

/** With every body written as JSON and read again, as on a wire. */
export const memoryEncoded: Bench = {
  name: "memory-encoded",
  goals: [{ name: "memory-encoded", unit: "msg/s", goal: 200_000, atLeast: true }],
  figures: [],
  processes: 3,
  rounds: 5,
  async measure({ rounds, scale }) {
    const traffic = await openTraffic({ body: bodyOf(256), transport: { encode: true } });
    const readings = await inRounds(rounds, async (record) => {
      collect();
      record.add("memory-encoded", await traffic.publish(150_000 * scale));
    });
    await traffic.close();
    return readings;
  },
};
