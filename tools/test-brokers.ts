// Which servers the tests need (a package says so in its package.json: `"waybill": { "brokers": [...] }`), and what to do
// without one: the run fails, unless BROKERS=available asks for the tests of those that are there.
import { readFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";

export interface BrokersOptions {
  readonly root: string;
  readonly install: (name: string) => Promise<void>;
  /** The variable that names a running server, if it is set. */
  readonly addressOf: (name: string) => string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly print: (text: string) => void;
}

export interface Prepared {
  /** Of the files, those whose servers are there. */
  readonly files: readonly string[];
  /** What is not tested, for the last line. */
  readonly notTested: readonly string[];
  /** Why the run has failed already. */
  readonly failures: readonly string[];
}

/** Installs what is missing, one after the other. Throws only for a wrong `BROKERS`. */
export async function prepareBrokers(files: readonly string[], options: BrokersOptions): Promise<Prepared> {
  const { print } = options;
  const mode = options.env["BROKERS"] ?? "all";
  if (mode !== "all" && mode !== "available") throw new Error("BROKERS: expected all (the default) or available");
  const needs = new Map(files.map((file) => [file, brokersOf(options.root, file)]));
  const missing = new Map<string, string>();
  const notTested: string[] = [];
  for (const name of new Set([...needs.values()].flat())) {
    const started = performance.now();
    const address = options.addressOf(name);
    if (address !== undefined) notTested.push(`what stops or kills ${name}, which is the one of ${address}`);
    try {
      await options.install(name);
      print(`broker  ${name}  ${((performance.now() - started) / 1000).toFixed(1)} s`);
    } catch (error) {
      missing.set(name, error instanceof Error ? error.message : String(error));
      print(`MISSING ${name}: ${missing.get(name)}`);
    }
  }
  const ready = files.filter((file) => needs.get(file)?.every((name) => !missing.has(name)) ?? true);
  for (const name of missing.keys()) {
    const without = files.filter((file) => needs.get(file)?.includes(name) === true);
    notTested.push(`${name}, which is not here (${without.length} files)`);
  }
  return { files: ready, notTested, failures: mode === "available" ? [] : notTested.map((what) => `not tested: ${what}`) };
}

/** What the package of the file says that its tests need. */
export function brokersOf(root: string, file: string): readonly string[] {
  const parts = relative(root, file).split(sep);
  for (let depth = Math.min(2, parts.length - 1); depth > 0; depth -= 1) {
    const declared = declaredIn(join(root, ...parts.slice(0, depth), "package.json"));
    if (declared !== undefined) return declared;
  }
  return [];
}

function declaredIn(path: string): readonly string[] | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
  const { waybill } = JSON.parse(text) as { readonly waybill?: { readonly brokers?: unknown } };
  const brokers = waybill?.brokers ?? [];
  if (!Array.isArray(brokers) || !brokers.every((name) => typeof name === "string")) {
    throw new Error(`${dirname(path)}: waybill.brokers in package.json: expected a list of names`);
  }
  return brokers;
}
