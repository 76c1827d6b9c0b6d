import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createBus } from "@waybill/core";
import { embedded } from "@waybill/embedded";
import type { Bench } from "../bench.ts";
import { Ordered, Reserved } from "./pair.ts";

const watchMs = 9000;

/**
 * Another process's handler takes the write lock by its first `ctx.tx` and then sleeps 5 s; its attempts are repeated. How long
 * does the slowest of our publishes take meanwhile?
 */
export const exactlyOnceSlowHandler: Bench = {
  name: "exactly-once-slow-handler",
  goals: [{ name: "exactly-once-slow-handler-delay", unit: "ms", goal: 1300, atLeast: false, pick: "worst" }],
  figures: [
    { name: "exactly-once-slow-handler delay median", unit: "ms" },
    { name: "exactly-once-slow-handler publishes above 500 ms", unit: "publishes" },
  ],
  processes: 1,
  rounds: 1,
  async measure({ directory }) {
    const path = join(directory, "slow.db");
    const bus = createBus({ name: "bench", transport: embedded({ path }) });
    await bus.start();
    const holder = fork(fileURLToPath(new URL("slow-handler.process.ts", import.meta.url)), [path], {
      execArgv: process.execArgv,
    });
    try {
      await once(holder, "message");
      const body = new Uint8Array(100);
      await bus.publish(Ordered, body);
      const delays: number[] = [];
      const until = performance.now() + watchMs;
      while (performance.now() < until) {
        const began = performance.now();
        await bus.publish(Reserved, body);
        delays.push(performance.now() - began);
      }
      delays.sort((a, b) => a - b);
      const held = delays.filter((ms) => ms > 500).length;
      // Else nobody held the lock, and the figure would say nothing.
      if (held === 0) throw new Error("no publish met the lock");
      return {
        "exactly-once-slow-handler-delay": [delays.at(-1) ?? Number.NaN],
        "exactly-once-slow-handler delay median": [delays[delays.length >> 1] ?? Number.NaN],
        "exactly-once-slow-handler publishes above 500 ms": [held],
      };
    } finally {
      holder.kill("SIGKILL");
      await bus.close({ drain: "5s" });
    }
  },
};
