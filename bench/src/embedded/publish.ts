import type { Bench } from "../bench.ts";
import { inRounds, inTurns } from "../readings.ts";
import { openBare, openOurs, withLoopDelay } from "./traffic.ts";

/** Durable publishes: the promise resolves when the message is on the disk. */
export const embeddedPublish: Bench = {
  name: "embedded-publish",
  goals: [
    { name: "embedded-publish-ratio", unit: "of bare", goal: 0.6, atLeast: true },
    { name: "embedded-publish-loop-delay-p99", unit: "ms", goal: 10, atLeast: false },
  ],
  figures: [
    { name: "embedded-publish ours", unit: "msg/s" },
    { name: "embedded-publish bare", unit: "msg/s" },
    { name: "embedded-publish loop delay max", unit: "ms" },
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
          const { result, p99Ms, maxMs } = await withLoopDelay(() => ours.publish(count));
          record.add("embedded-publish-loop-delay-p99", p99Ms);
          record.add("embedded-publish loop delay max", maxMs);
          return result;
        },
        bare: () => bare.publish(count),
      });
      record.add("embedded-publish ours", rate.ours);
      record.add("embedded-publish bare", rate.bare);
      record.add("embedded-publish-ratio", rate.ours / rate.bare);
      // The groups catch up, as they would.
      await ours.consume(count);
      await bare.consume(count);
    });
    await ours.close();
    await bare.close();
    return readings;
  },
};
