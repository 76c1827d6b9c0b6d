import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { halfOpenCases } from "./cases/half-open.ts";
import { networkCases } from "./cases/network.ts";
import { outageCases } from "./cases/outage.ts";
import type { Case, CaseResult } from "./case.ts";
import { rigOptions, runCase } from "./run-suite.ts";
import { wireTarget } from "./wire.fixture.ts";
import { wrongs } from "./wire-transport.fixture.ts";
import type { Wrong } from "./wire-transport.fixture.ts";

const named = (part: string): Case => {
  const found = [...outageCases, ...networkCases, ...halfOpenCases].find(({ name }) => name.includes(part));
  assert(found !== undefined, part);
  return found;
};

/** The case that has to notice it. */
const noticed: Readonly<Record<Wrong, Case>> = {
  "acks-by-tag": named("from before a reconnection"),
  "forgets-subscriptions": named("nothing comes from the server"),
  "in-flight-fails": named("cut at any byte"),
  "in-flight-is-ok": named("whose answers are lost"),
  "no-heartbeat": named("idle: nothing passes"),
  "waits-for-ever": named("whose answers are lost"),
  leaks: named("after many lost connections"),
};

async function run(each: Case, wrong?: Wrong): Promise<CaseResult> {
  const target = wireTarget(wrong);
  const broker = await target.start();
  try {
    return await runCase(each, rigOptions(target, broker, { waitMs: 5_000 }));
  } finally {
    await broker[Symbol.asyncDispose]();
  }
}

describe("an adapter over TCP", () => {
  // What waits for longer is run with the real servers.
  const quick = [...outageCases, ...networkCases, ...halfOpenCases].filter(({ name }) => !name.includes("stands still"));
  describe("passes the cases of a server and a network that fail", () => {
    for (const each of quick) {
      it(each.name, async () => {
        const { outcome, error, why } = await run(each);
        assert.equal(outcome, "proved", why ?? String(error));
      });
    }
  });
  describe("fails when", { concurrency: true }, () => {
    for (const wrong of wrongs) {
      it(wrong, async () => {
        assert.equal((await run(noticed[wrong], wrong)).outcome, "failed");
      });
    }
  });
});
