import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { longFreeze } from "./cases/outage.ts";
import { loadTarget } from "./load-target.ts";
import { runOnAll } from "./run-on-all.ts";
import { targetModules } from "./targets.ts";

/** One target for each server and protocol: they all stand still at the same time. `memory` and `embedded` have no server. */
const frozen = Object.keys(targetModules).filter((name) => !/^(memory|embedded)/.test(name));

describe("all servers stand still for 65 s at once", () => {
  it(frozen.join(", "), { timeout: 280_000 }, async () => {
    const modules = Object.fromEntries(
      frozen.map((name) => {
        const module = targetModules[name]?.();
        assert(module !== undefined);
        return [name, module];
      }),
    );
    for (const module of Object.values(modules)) await loadTarget(module);
    const seed = Number(process.env["CONFORMANCE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
    const results = await runOnAll(longFreeze(65_000), modules, seed);
    const failures = results.filter(({ result }) => result.outcome === "failed");
    assert.equal(failures.length, 0, failures.map(({ target, result }) => `${target}, seed ${seed}: ${String(result.error)}`).join("\n"));
  });
});
