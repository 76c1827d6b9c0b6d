import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { rigOptions, runCase, selectCases } from "./run-suite.ts";
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
    for (const each of selectCases(options.only, options.cases)) {
      it(each.name, async (test) => {
        const result = await runCase(each, rigOptions(target, broker, { module, ...options, seed }));
        if (result.outcome === "failed") {
          test.diagnostic(`replay with CONFORMANCE_SEED=${seed}`);
          throw result.error;
        }
        if (result.outcome === "untested") test.skip(result.why);
      });
    }
  });
}

/** Imports a target module; rejects unless it exports `target`. */
export async function loadTarget(module: URL): Promise<ConformanceTarget> {
  const loaded = (await import(module.href)) as { readonly target?: ConformanceTarget };
  assert(loaded.target !== undefined, `${module.pathname} exports no target`);
  return loaded.target;
}
