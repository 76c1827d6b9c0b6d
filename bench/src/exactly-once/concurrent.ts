import type { Bench } from "../bench.ts";
import { inRounds, inTurns } from "../readings.ts";
import { openPair } from "./pair.ts";

/** 32 handlers at once, whose transactions are collected, against 200 savepoints per commit. */
export const exactlyOnceConcurrent: Bench = {
  name: "exactly-once-concurrent",
  goals: [{ name: "exactly-once-concurrent-ratio", unit: "of bare", goal: 0.2, atLeast: true }],
  figures: [
    { name: "exactly-once-concurrent ours", unit: "msg/s" },
    { name: "exactly-once-concurrent bare", unit: "msg/s" },
  ],
  processes: 2,
  rounds: 4,
  async measure({ rounds, scale, directory }) {
    const pair = await openPair(directory, { concurrency: 32, perCommit: 200 });
    const count = 10_000 * scale;
    const readings = await inRounds(rounds, async (record, index) => {
      const rate = await inTurns(index, { ours: () => pair.ours(count), bare: () => pair.bare(count) });
      record.add("exactly-once-concurrent ours", rate.ours);
      record.add("exactly-once-concurrent bare", rate.bare);
      record.add("exactly-once-concurrent-ratio", rate.ours / rate.bare);
    });
    await pair.close();
    return readings;
  },
};
