import { after, before, describe, it } from "node:test";
import { atOnce, selectCases } from "./run-suite.ts";
import type { Case } from "./case.ts";
import type { SuiteOptions } from "./run-suite.ts";
import { startSuiteProcess } from "./suite-process.ts";
import type { SuiteProcess } from "./suite-process.ts";
import { notTested } from "./table.ts";

/**
 * Binds the suite to `node:test`: one test a case, run in one process beside it. `module` exports `target`; child processes
 * import it too. `together: false` leaves out the cases with processes of their own, for the command line. `CONFORMANCE_SEED`
 * in the environment replays what a failure printed.
 */
export function conformance(
  module: URL,
  options: Pick<SuiteOptions, "full" | "only" | "seed" | "waitMs"> & { readonly together?: boolean } = {},
): void {
  const seed = options.seed ?? Number(process.env["CONFORMANCE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  describe(`conformance, seed ${seed}`, { concurrency: false }, () => {
    let suite: SuiteProcess | undefined;
    before(async () => {
      const { full = false, waitMs } = options;
      suite = await startSuiteProcess({ module: module.href, seed, full, ...(waitMs === undefined ? {} : { waitMs }) });
    });
    after(() => suite?.close());
    const bound = (each: Case): void => {
      it(each.name, async (test) => {
        const result = await suite?.run(each.name);
        if (result === undefined || result.outcome === "failed") {
          test.diagnostic(`replay with CONFORMANCE_SEED=${seed}`);
          throw new Error(`${String(result?.error)}\nreplay with CONFORMANCE_SEED=${seed}`);
        }
        if (result.outcome !== "untested") return;
        if (notTested({ broker: suite?.server ?? {} }, [result]).length > 0 && process.env["BROKERS"] !== "available")
          throw new Error("not tested, because the server is not ours to stop; BROKERS=available accepts that");
        test.skip(result.why);
      });
    };
    const selected = selectCases(options);
    for (const each of selected) if (each.together !== true) bound(each);
    if (options.together === false) return;
    describe("with processes of their own", { concurrency: atOnce }, () => {
      for (const each of selected) if (each.together === true) bound(each);
    });
  });
}
