// The other process of slow-handler.ts: tells when it is ready, and then handles until it is killed.
import { setTimeout as sleep } from "node:timers/promises";
import { createBus } from "@waybill/core";
import { embedded, type EmbeddedTx } from "@waybill/embedded";
import { makeStock, Ordered, takeStock } from "./pair.ts";

const [path = ""] = process.argv.slice(2);
const transport = embedded({ path });
const bus = createBus({ name: "holder", transport });
bus.subscribe<Uint8Array, Uint8Array, EmbeddedTx>(
  Ordered,
  { group: "bench", concurrency: 1, exactlyOnce: transport.store, retry: { attempts: 10 } },
  async (_body, ctx) => {
    await ctx.tx.run(takeStock, [1]);
    await sleep(5000);
  },
);
await bus.start();
await bus.transact(transport.store, ({ tx }) => tx.run(makeStock));
process.send?.("ready");
process.once("disconnect", () => process.exit());
