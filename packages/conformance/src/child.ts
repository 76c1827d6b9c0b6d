/** A process of a crash case: opens the broker by its target module, plays its script, and writes the history to descriptor 3. */
import { writeSync } from "node:fs";
import { loadTarget } from "./load-target.ts";
import type { UnsequencedRecord } from "./history.ts";
import { act } from "./script.ts";
import type { Script } from "./script.ts";
import type { Json } from "./target.ts";

export interface ChildOrder {
  readonly module: string;
  readonly connection: Json;
  readonly script: Script;
}
export type ChildLine = { readonly record: UnsequencedRecord } | { readonly told: "ready" | "done" };

const order = JSON.parse(process.argv[2] ?? "") as ChildOrder;
const target = await loadTarget(new URL(order.module));
const stored = order.script.role === "consumer" ? order.script.store : undefined;

/** Returns when the pipe has it: what follows may be the end of this process. */
function tell(line: ChildLine): void {
  const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
  for (let at = 0; at < bytes.byteLength;) {
    try {
      at += writeSync(3, bytes, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
    }
  }
}

const go = Promise.withResolvers<void>();
const stop = Promise.withResolvers<void>();
process.stdin
  .once("data", () => go.resolve())
  .once("end", () => stop.resolve())
  .resume();

const acting = act(order.script, {
  transport: target.open(order.connection),
  store: stored === undefined ? undefined : target.store?.(order.connection, { joined: stored === "joined" }),
  write: (record) => tell({ record }),
  go: go.promise,
  die: () => {
    process.kill(process.pid, "SIGKILL");
    return new Promise<never>(() => undefined);
  },
});
await acting.ready;
tell({ told: "ready" });
await acting.done;
tell({ told: "done" });
await stop.promise;
await acting.stop();
