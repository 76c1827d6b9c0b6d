import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ConformanceTarget } from "@waybill/conformance";
import { memoryBroker, type MemoryBroker } from "@waybill/core";
import { conformanceStore } from "./conformance-store.fixture.ts";
import { fixturePath } from "./conformance.fixture.ts";

const brokers = new Map<string, MemoryBroker>();

/** `memory()` beside an embedded store: inbox, outbox and relay, where transport and store are two things. A crash is an abandoned bus. */
export const target: ConformanceTarget = {
  name: "memory with an embedded store",
  processes: false,
  async start() {
    const directory = mkdtempSync(join(tmpdir(), "waybill-conformance-"));
    const path = join(directory, "waybill.db");
    const broker = memoryBroker();
    brokers.set(path, broker);
    return {
      connection: path,
      faults: { crash: (transport) => broker.crash(transport) },
      async [Symbol.asyncDispose]() {
        brokers.delete(path);
        rmSync(directory, { recursive: true, force: true });
      },
    };
  },
  open(connection) {
    const broker = brokers.get(fixturePath(connection));
    if (broker === undefined) throw new Error("no such broker in this process");
    return broker.open();
  },
  store: (connection, { joined }) => conformanceStore(fixturePath(connection), joined),
};
