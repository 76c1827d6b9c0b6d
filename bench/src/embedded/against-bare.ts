import type { Bench } from "../bench.ts";
import { inRounds, inTurns } from "../readings.ts";
import { openBare, openOurs, withLoopDelay, type Side } from "./traffic.ts";

export interface Comparison {
  readonly name: string;
  /** Of the bare loop's rate, at least. */
  readonly ratio: number;
  /** What is measured; answers messages per second. */
  readonly rate: (side: Side, count: number) => Promise<number>;
  /** What each round needs on both sides. */
  readonly before?: (side: Side, count: number) => Promise<unknown>;
  readonly after?: (side: Side, count: number) => Promise<unknown>;
}

/** The whole bus on the embedded transport, beside a bare loop that does the same on SQLite. */
export function againstBare({ name, ratio, rate, before, after }: Comparison): Bench {
  return {
    name,
    goals: [
      { name: `${name}-ratio`, unit: "of bare", goal: ratio, atLeast: true },
      { name: `${name}-loop-delay-p99`, unit: "ms", goal: 10, atLeast: false },
    ],
    figures: [
      { name: `${name} ours`, unit: "msg/s" },
      { name: `${name} bare`, unit: "msg/s" },
      { name: `${name} loop delay max`, unit: "ms" },
    ],
    processes: 2,
    rounds: 5,
    async measure({ rounds, scale, directory }) {
      const ours = await openOurs(directory);
      const bare = openBare(directory);
      const count = 100_000 * scale;
      const readings = await inRounds(rounds, async (record, index) => {
        await before?.(ours, count);
        await before?.(bare, count);
        const rates = await inTurns(index, {
          ours: async () => {
            const { result, p99Ms, maxMs } = await withLoopDelay(() => rate(ours, count));
            record.add(`${name}-loop-delay-p99`, p99Ms);
            record.add(`${name} loop delay max`, maxMs);
            return result;
          },
          bare: () => rate(bare, count),
        });
        record.add(`${name} ours`, rates.ours);
        record.add(`${name} bare`, rates.bare);
        record.add(`${name}-ratio`, rates.ours / rates.bare);
        await after?.(ours, count);
        await after?.(bare, count);
      });
      await ours.close();
      await bare.close();
      return readings;
    },
  };
}
