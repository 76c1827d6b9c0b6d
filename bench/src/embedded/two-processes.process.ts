// One of the publishers of two-processes.ts: asked for a time in ms, it answers how many publishes were confirmed in it.
import { createBus } from "@waybill/core";
import { embedded } from "@waybill/embedded";
import { Stored } from "./traffic.ts";

const [path = ""] = process.argv.slice(2);
const bus = createBus({ name: "publisher", transport: embedded({ path }) });
const body = new Uint8Array(100).fill(0x78);
await bus.start();

async function publishFor(forMs: number): Promise<number> {
  const until = performance.now() + forMs;
  let confirmed = 0;
  const each = async (): Promise<void> => {
    while (performance.now() < until) {
      await bus.publish(Stored, body);
      if (performance.now() < until) confirmed += 1;
    }
  };
  await Promise.all(Array.from({ length: 1000 }, each));
  return confirmed;
}

process.on("message", (forMs: number) => void publishFor(forMs).then((count) => process.send?.(count)));
process.once("disconnect", () => process.exit());
process.send?.("ready");
