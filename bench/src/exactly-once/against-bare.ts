import type { Bench } from "../bench.ts";
import { inRounds, inTurns } from "../readings.ts";
import { openPair } from "./pair.ts";

export interface Comparison {
  readonly name: string;
  /** Of the bare loop's rate, at least. */
  readonly ratio: number;
  /** Handlers of ours at once. */
  readonly concurrency: number;
  /** Savepoints of the bare loop's in one transaction. */
  readonly perCommit: number;
  /** Messages a round. */
  readonly messages: number;
}

/** An exactly-once effect on the embedded file, beside a bare loop that does the same on SQLite. */
export function againstBare({ name, ratio, concurrency, perCommit, messages }: Comparison): Bench {
  return {
    name,
    goals: [{ name: `${name}-ratio`, unit: "of bare", goal: ratio, atLeast: true }],
    figures: [
      { name: `${name} ours`, unit: "msg/s" },
      { name: `${name} bare`, unit: "msg/s" },
    ],
    processes: 2,
    rounds: 4,
    async measure({ rounds, scale, directory }) {
      const pair = await openPair(directory, { concurrency, perCommit });
      const count = messages * scale;
      const readings = await inRounds(rounds, async (record, index) => {
        const rate = await inTurns(index, { ours: () => pair.ours(count), bare: () => pair.bare(count) });
        record.add(`${name} ours`, rate.ours);
        record.add(`${name} bare`, rate.bare);
        record.add(`${name}-ratio`, rate.ours / rate.bare);
      });
      await pair.close();
      return readings;
    },
  };
}
