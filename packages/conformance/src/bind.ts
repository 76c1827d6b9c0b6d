import { after, before, describe, it } from "node:test";
import { loadTarget } from "./load-target.ts";
import { atOnce, rigOptions, runCase, selectCases } from "./run-suite.ts";
import type { Case } from "./case.ts";
import type { SuiteOptions } from "./run-suite.ts";
import type { Broker, ConformanceTarget } from "./target.ts";

/**
 * Binds the suite to `node:test`: one test a case. `module` exports `target`; child processes import it too.
 * `CONFORMANCE_SEED` in the environment replays what a failure printed.
 */
export function conformance(module: URL, options: SuiteOptions = {}): void {
  const seed = options.seed ?? Number(process.env["CONFORMANCE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  describe(`conformance, seed ${seed}`, { concurrency: false }, () => {
    let target: ConformanceTarget;
    let broker: Broker;
    before(async () => {
      target = await loadTarget(module);
      broker = await target.start();
    });
    after(async () => {
      await broker?.[Symbol.asyncDispose]();
    });
    const selected = selectCases(options.only, options.cases);
    const bound = (each: Case): void => {
      it(each.name, async (test) => {
        const result = await runCase(each, rigOptions(target, broker, { module, ...options, seed }));
        if (result.outcome === "failed") {
          test.diagnostic(`replay with CONFORMANCE_SEED=${seed}`);
          throw result.error;
        }
        if (result.outcome === "untested") test.skip(result.why);
      });
    };
    for (const each of selected) if (each.together !== true) bound(each);
    describe("with processes of their own", { concurrency: atOnce }, () => {
      for (const each of selected) if (each.together === true) bound(each);
    });
  });
}
