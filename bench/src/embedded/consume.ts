import type { Bench } from "../bench.ts";
import { inRounds, inTurns } from "../readings.ts";
import { openBare, openOurs, withLoopDelay } from "./traffic.ts";

/** What waits on the disk is handled and acknowledged. */
export const embeddedConsume: Bench = {
  name: "embedded-consume",
  goals: [
    { name: "embedded-consume-ratio", unit: "of bare", goal: 0.8, atLeast: true },
    { name: "embedded-consume-loop-delay-p99", unit: "ms", goal: 10, atLeast: false },
  ],
  figures: [
    { name: "embedded-consume ours", unit: "msg/s" },
    { name: "embedded-consume bare", unit: "msg/s" },
    { name: "embedded-consume loop delay max", unit: "ms" },
  ],
  processes: 2,
  rounds: 5,
  async measure({ rounds, scale, directory }) {
    const ours = await openOurs(directory);
    const bare = openBare(directory);
    const count = 100_000 * scale;
    const readings = await inRounds(rounds, async (record, index) => {
      await ours.publish(count);
      await bare.publish(count);
      const rate = await inTurns(index, {
        ours: async () => {
          const { result, p99Ms, maxMs } = await withLoopDelay(() => ours.consume(count));
          record.add("embedded-consume-loop-delay-p99", p99Ms);
          record.add("embedded-consume loop delay max", maxMs);
          return result;
        },
        bare: () => bare.consume(count),
      });
      record.add("embedded-consume ours", rate.ours);
      record.add("embedded-consume bare", rate.bare);
      record.add("embedded-consume-ratio", rate.ours / rate.bare);
    });
    await ours.close();
    await bare.close();
    return readings;
  },
};
