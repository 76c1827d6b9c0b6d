import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import type { CapabilityName, Transport } from "@waybill/core";
import { cases } from "./cases/index.ts";
import type { Need } from "./case.ts";
import { runSuite } from "./run-suite.ts";
import { strangeBroker } from "./stranger.fixture.ts";

import type { ConformanceTarget } from "./target.ts";

describe("a stranger's adapter", () => {
  it("has no more than a hundred lines", () => {
    const text = readFileSync(new URL("./stranger.fixture.ts", import.meta.url), "utf8");
    assert(text.trimEnd().split("\n").length <= 100);
  });
  it("passes when it declares what it has", async () => {
    const results = await runSuite(stranger(), { waitMs: 4_000 });
    for (const { name, outcome, error } of results) assert.notEqual(outcome, "failed", `${name}: ${String(error)}`);
    assert(results.filter(({ outcome }) => outcome === "proved").length >= 10);
    assert(results.filter(({ outcome }) => outcome === "refused").length >= 30);
  });
  for (const lies of ["delay", "publishToGroup"] as const satisfies readonly CapabilityName[]) {
    it(`fails at exactly ${lies}, when it declares that and does not have it`, async () => {
      const results = await runSuite(stranger(lies), { waitMs: 4_000 });
      const failed = results.filter(({ outcome }) => outcome === "failed").map(({ name }) => name);
      const about = (name: string): boolean => {
        const found = cases.find((each) => each.name === name);
        const needs: readonly Need[] = found?.needs ?? [];
        return needs.includes(lies);
      };
      assert(failed.length > 0, "the lie was believed");
      for (const name of failed) assert(about(name), `${name} failed, and is not about ${lies}`);
    });
  }
});

/** Brokers live in this process: a connection is a number. */
function stranger(lies?: CapabilityName): ConformanceTarget {
  const brokers: { open(): Transport }[] = [];
  return {
    name: "stranger",
    processes: false,
    async start() {
      brokers.push(strangeBroker(lies));
      return { connection: brokers.length - 1, faults: {}, [Symbol.asyncDispose]: async () => undefined };
    },
    open(connection) {
      const broker = brokers[connection as number];
      assert(broker !== undefined);
      return broker.open();
    },
  };
}
