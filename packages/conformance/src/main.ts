import { parseArgs } from "node:util";
import { loadTarget } from "./load-target.ts";
import { runSuite } from "./run-suite.ts";
import { line, summary, textOf } from "./table.ts";
import { targetModules } from "./targets.ts";

const { values } = parseArgs({
  options: {
    transport: { type: "string" },
    target: { type: "string" },
    only: { type: "string" },
    seed: { type: "string" },
    full: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});

const names = Object.keys(targetModules);
if (values.target === undefined && (values.transport === undefined || !names.includes(values.transport))) {
  console.error(`usage: conformance --transport ${names.join("|")} | --target <module> [--full] [--only P01] [--seed N] [--json]`);
  process.exit(2);
}
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
if (!Number.isSafeInteger(seed)) {
  console.error("--seed: expected a whole number");
  process.exit(2);
}
const module = values.target === undefined ? targetModules[values.transport ?? ""]?.() : new URL(values.target, `file://${process.cwd()}/`);
if (module === undefined) throw new Error("no such target");
const target = await loadTarget(module);
if (!values.json) console.log(`conformance of ${target.name}, seed ${seed}${values.full ? ", full counts" : ""}\n`);
const results = await runSuite(target, {
  module,
  seed,
  full: values.full,
  ...(values.only === undefined ? {} : { only: values.only }),
  onResult: (result) => {
    if (!values.json) console.log(line(result));
  },
});
if (values.json) {
  const told = results.map(({ error, ...result }) => (error === undefined ? result : { ...result, error: textOf(error) }));
  console.log(JSON.stringify({ transport: target.name, seed, full: values.full, results: told }));
} else console.log(`\n${summary(target.name, seed, results)}`);
process.exitCode = results.length === 0 || results.some((result) => result.outcome === "failed") ? 1 : 0;
