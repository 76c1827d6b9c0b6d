import type { Bench } from "../bench.ts";
import { inRounds, inTurns } from "../readings.ts";
import { openBare, openOurs, withLoopDelay } from "./traffic.ts";

/** Published and consumed at the same time, in one process. */
export const embeddedBoth: Bench = {
  name: "embedded-both",
  goals: [
    { name: "embedded-both-ratio", unit: "of bare", goal: 0.8, atLeast: true },
    { name: "embedded-both-loop-delay-p99", unit: "ms", goal: 10, atLeast: false },
  ],
  figures: [
    { name: "embedded-both ours", unit: "msg/s" },
    { name: "embedded-both bare", unit: "msg/s" },
    { name: "embedded-both loop delay max", unit: "ms" },
  ],
  processes: 2,
  rounds: 5,
  async measure({ rounds, scale, directory }) {
    const ours = await openOurs(directory);
    const bare = openBare(directory);
    const count = 100_000 * scale;
    const readings = await inRounds(rounds, async (record, index) => {
      const rate = await inTurns(index, {
        ours: async () => {
          const { result, p99Ms, maxMs } = await withLoopDelay(() => ours.both(count));
          record.add("embedded-both-loop-delay-p99", p99Ms);
          record.add("embedded-both loop delay max", maxMs);
          return result;
        },
        bare: () => bare.both(count),
      });
      record.add("embedded-both ours", rate.ours);
      record.add("embedded-both bare", rate.bare);
      record.add("embedded-both-ratio", rate.ours / rate.bare);
    });
    await ours.close();
    await bare.close();
    return readings;
  },
};
