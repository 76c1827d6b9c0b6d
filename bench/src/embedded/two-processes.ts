import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Bench } from "../bench.ts";
import { inRounds } from "../readings.ts";

/** Two processes publish on one file as fast as they can: neither starves the other. */
export const embeddedTwoProcesses: Bench = {
  name: "embedded-two-processes",
  goals: [{ name: "embedded-two-processes-smaller-share", unit: "of both", goal: 1 / 3, atLeast: true }],
  figures: [{ name: "embedded-two-processes together", unit: "msg/s" }],
  processes: 1,
  rounds: 5,
  async measure({ rounds, scale, directory }) {
    const path = join(directory, "shared.db");
    const script = fileURLToPath(new URL("two-processes.process.ts", import.meta.url));
    const both = [1, 2].map(() => fork(script, [path], { execArgv: process.execArgv }));
    try {
      await Promise.all(both.map((child) => once(child, "message")));
      return await inRounds(rounds, async (record) => {
        const forMs = 2000 * scale;
        const counts = await Promise.all(both.map((child) => publishFor(child, forMs)));
        const total = counts.reduce((sum, count) => sum + count, 0);
        record.add("embedded-two-processes-smaller-share", Math.min(...counts) / total);
        record.add("embedded-two-processes together", (total * 1000) / forMs);
      });
    } finally {
      for (const child of both) child.kill("SIGKILL");
    }
  },
};

async function publishFor(child: ChildProcess, forMs: number): Promise<number> {
  child.send(forMs);
  const [count] = (await once(child, "message")) as [number];
  return count;
}
