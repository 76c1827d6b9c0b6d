/** A process of a crash case: opens the broker by its target module, plays its script, and writes the history to descriptor 3. */
import { writeSync } from "node:fs";
import { runUntilSignal } from "@waybill/core";
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
const left = new AbortController();
process.stdin
  .once("data", () => go.resolve())
  .once("end", () => left.abort())
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
// From the start: a parent that goes, or SIGTERM, may come before the bus is ready.
const ended = runUntilSignal({ close: () => acting.stop() }, { signals: ["SIGTERM"], drain: "10s", signal: left.signal });
void ended.then(() => process.stdin.destroy());
await acting.ready;
tell({ told: "ready" });
await acting.done;
tell({ told: "done" });
await ended;
