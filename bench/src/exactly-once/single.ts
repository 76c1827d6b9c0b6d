import type { Bench } from "../bench.ts";
import { inRounds, inTurns } from "../readings.ts";
import { openPair } from "./pair.ts";

/** One handler at a time, against one transaction per message: both pay a sync for each. */
export const exactlyOnceSingle: Bench = {
  name: "exactly-once-single",
  goals: [{ name: "exactly-once-single-ratio", unit: "of bare", goal: 0.4, atLeast: true }],
  figures: [
    { name: "exactly-once-single ours", unit: "msg/s" },
    { name: "exactly-once-single bare", unit: "msg/s" },
  ],
  processes: 2,
  rounds: 4,
  async measure({ rounds, scale, directory }) {
    const pair = await openPair(directory, { concurrency: 1, perCommit: 1 });
    const count = 1000 * scale;
    const readings = await inRounds(rounds, async (record, index) => {
      const rate = await inTurns(index, { ours: () => pair.ours(count), bare: () => pair.bare(count) });
      record.add("exactly-once-single ours", rate.ours);
      record.add("exactly-once-single bare", rate.bare);
      record.add("exactly-once-single-ratio", rate.ours / rate.bare);
    });
    await pair.close();
    return readings;
  },
};
