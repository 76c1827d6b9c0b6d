import { cases } from "./cases/index.ts";
import type { CaseResult } from "./case.ts";
import { startSuiteProcess } from "./suite-process.ts";

/** What came of one target. */
export interface Froze {
  readonly target: string;
  readonly result: CaseResult;
}

/**
 * Runs one case on many targets at once, each in a process of its own with a server of its own: for what is nothing but a long
 * wait, such as servers that stand still for 65 s.
 */
export async function runOnAll(caseName: string, modules: Readonly<Record<string, URL>>, seed: number): Promise<readonly Froze[]> {
  if (!cases.some(({ name }) => name === caseName)) throw new Error(`no case is named "${caseName}"`);
  return Promise.all(
    Object.entries(modules).map(async ([target, module]) => {
      const suite = await startSuiteProcess({ module: module.href, seed, full: false });
      try {
        return { target, result: await suite.run(caseName) };
      } finally {
        await suite.close();
      }
    }),
  );
}
