import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import type { CaseResult } from "./case.ts";
import { loadTarget } from "./load-target.ts";
import { cases } from "./cases/index.ts";
import { mutants } from "./mutants.ts";
import type { Mutant } from "./mutants.ts";
import { rigOptions, runCase } from "./run-suite.ts";
import type { ConformanceTarget } from "./target.ts";
import { targetModules } from "./targets.ts";

/** Enough for whatever a right adapter has to do in these cases; what a wrong one never does costs this much. */
const waitMs = 1_500;
const shapes = ["memory", "memory-log", "memory-push"];

describe("the suite fails an adapter that ignores", () => {
  const targets: ConformanceTarget[] = [];
  before(async () => {
    for (const shape of shapes) {
      const module = targetModules[shape]?.();
      assert(module !== undefined);
      targets.push(await loadTarget(module));
    }
  });
  for (const mutant of mutants) {
    it(mutant.name, async () => {
      for (const target of targets) if (await fails(target, mutant)) return;
      assert.fail("no case noticed it");
    });
  }
});

/** Whether a case that names the member fails with the mutant, and does not without it. */
async function fails(target: ConformanceTarget, mutant: Mutant): Promise<boolean> {
  const broker = await target.start();
  try {
    for (const each of cases) {
      if (each.covers?.includes(mutant.name) !== true) continue;
      const run = (options: object): Promise<CaseResult> => runCase(each, rigOptions(target, broker, { waitMs, ...options }));
      if ((await run({ wrap: mutant.wrap })).outcome !== "failed") continue;
      const sound = await run({});
      assert.notEqual(sound.outcome, "failed", `${each.name} fails without the mutant: ${String(sound.error)}`);
      return true;
    }
    return false;
  } finally {
    await broker[Symbol.asyncDispose]();
  }
}
