import { inspect } from "node:util";
import type { CaseResult, Outcome } from "./case.ts";
import type { Broker } from "./target.ts";

const signs: Readonly<Record<Outcome, string>> = { proved: "proved  ", refused: "refused ", failed: "FAILED  ", untested: "untested" };

/** One case, one line; below a failure what it was, below what is not proved why. */
export function line(result: CaseResult): string {
  const counted = result.checked === 0 ? "" : result.checked.toLocaleString("en");
  const row = `${signs[result.outcome]} ${counted.padStart(9)} ${result.seconds.toFixed(2).padStart(7)} s  ${result.name}`;
  if (result.outcome === "failed") return `${row}\n${indented(textOf(result.error))}`;
  return result.why === undefined ? row : `${row} (${result.why})`;
}

/** What a table is of. */
export interface Heading {
  readonly name: string;
  readonly broker: Pick<Broker, "version" | "borrowed">;
  readonly full: boolean;
  readonly seed: number;
}

/** The tier: with one list of cases, how much of each is run. */
const tierOf = (full: boolean): string => (full ? "full counts" : "default counts");

export function heading({ name, broker, full, seed }: Heading): string {
  return `conformance of ${named(name, broker)}: ${tierOf(full)}, seed ${seed}`;
}

/** The last lines of a table; `wallMs` from its first case to its last. */
export function summary({ name, broker, full, seed }: Heading, results: readonly CaseResult[], wallMs: number): string {
  const count = (outcome: Outcome): number => results.filter((result) => result.outcome === outcome).length;
  const checked = results.reduce((sum, result) => sum + result.checked, 0);
  const counts = `${count("proved")} proved, ${count("refused")} refused, ${count("untested")} untested, ${count("failed")} failed`;
  const seconds = `${(wallMs / 1_000).toFixed(1)} s`;
  const total = `${named(name, broker)}, ${tierOf(full)}: ${counts}; ${checked.toLocaleString("en")} messages checked in ${seconds}; seed ${seed}`;
  const borrowed = notTested({ broker }, results);
  return borrowed.length === 0 ? total : `${total}\nnot tested, because the server is not ours to stop: ${borrowed.join("; ")}`;
}

/** What a server that was not started for this run could not be put through. */
export function notTested({ broker }: Pick<Heading, "broker">, results: readonly CaseResult[]): readonly string[] {
  if (broker.borrowed !== true) return [];
  return results.filter(({ outcome, why }) => outcome === "untested" && why?.includes("fault:") === true).map(({ name }) => name);
}

const named = (name: string, { version }: Heading["broker"]): string => (version === undefined ? name : `${name} (server ${version})`);

/** Of whatever a case threw. */
export function textOf(error: unknown): string {
  if (!(error instanceof Error)) return inspect(error);
  const cause = error.cause === undefined ? "" : `\ncause: ${textOf(error.cause)}`;
  return `${error.stack ?? error.message}${cause}`;
}

const indented = (text: string): string => text.replaceAll(/^/gm, "           ");
