import type { HandleMiddleware } from "@waybill/core";
import type { Bench } from "../bench.ts";
import { collect } from "../collect.ts";
import { inRounds, inTurns } from "../readings.ts";
import { bodyOf, openTraffic } from "./traffic.ts";

const layers = 3;
const through: HandleMiddleware = (call, next) => next(call);
const throughAsync: HandleMiddleware = async (call, next) => next(call);

/** Three middlewares that do nothing, against none; the buses stand side by side and take turns. */
export const memoryMiddleware: Bench = {
  name: "memory-middleware",
  goals: [
    { name: "memory-middleware-cost", unit: "%", goal: 15, atLeast: false },
    { name: "memory-async-middleware-cost", unit: "µs each", goal: 0.15, atLeast: false },
  ],
  figures: [
    { name: "memory-middleware none", unit: "msg/s" },
    { name: "memory-middleware 3 returning next()", unit: "msg/s" },
    { name: "memory-middleware 3 async", unit: "msg/s" },
  ],
  processes: 3,
  rounds: 8,
  async measure({ rounds, scale }) {
    const body = bodyOf(285);
    const none = await openTraffic({ body });
    const plain = await openTraffic({ body, middleware: Array.from({ length: layers }, () => through) });
    const waiting = await openTraffic({ body, middleware: Array.from({ length: layers }, () => throughAsync) });
    const count = 200_000 * scale;
    const readings = await inRounds(rounds, async (record, index) => {
      const run = (traffic: typeof none) => (): Promise<number> => {
        collect();
        return traffic.publish(count);
      };
      const rate = await inTurns(index, { none: run(none), plain: run(plain), waiting: run(waiting) });
      record.add("memory-middleware none", rate.none);
      record.add("memory-middleware 3 returning next()", rate.plain);
      record.add("memory-middleware 3 async", rate.waiting);
      record.add("memory-middleware-cost", (1 - rate.plain / rate.none) * 100);
      record.add("memory-async-middleware-cost", (1e6 / rate.waiting - 1e6 / rate.none) / layers);
    });
    for (const traffic of [none, plain, waiting]) await traffic.close();
    return readings;
  },
};
