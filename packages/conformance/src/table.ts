import { inspect } from "node:util";
import type { CaseResult, Outcome } from "./case.ts";

const signs: Readonly<Record<Outcome, string>> = { proved: "proved  ", refused: "refused ", failed: "FAILED  ", untested: "untested" };

/** One case, one line; below a failure what it was, below what is not proved why. */
export function line(result: CaseResult): string {
  const counted = result.checked === 0 ? "" : result.checked.toLocaleString("en");
  const row = `${signs[result.outcome]} ${counted.padStart(9)} ${result.seconds.toFixed(2).padStart(7)} s  ${result.name}`;
  if (result.outcome === "failed") return `${row}\n${indented(textOf(result.error))}`;
  return result.why === undefined ? row : `${row} (${result.why})`;
}

export function summary(name: string, seed: number, results: readonly CaseResult[]): string {
  const count = (outcome: Outcome): number => results.filter((result) => result.outcome === outcome).length;
  const checked = results.reduce((sum, result) => sum + result.checked, 0);
  const seconds = results.reduce((sum, result) => sum + result.seconds, 0);
  const counts = `${count("proved")} proved, ${count("refused")} refused, ${count("untested")} untested, ${count("failed")} failed`;
  return `${name}: ${counts}; ${checked.toLocaleString("en")} messages checked in ${seconds.toFixed(1)} s; seed ${seed}`;
}

/** Of whatever a case threw. */
export function textOf(error: unknown): string {
  if (!(error instanceof Error)) return inspect(error);
  const cause = error.cause === undefined ? "" : `\ncause: ${textOf(error.cause)}`;
  return `${error.stack ?? error.message}${cause}`;
}

const indented = (text: string): string => text.replaceAll(/^/gm, "           ");
