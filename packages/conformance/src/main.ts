import { parseArgs } from "node:util";
import { loadTarget } from "./load-target.ts";
import { runSuite } from "./run-suite.ts";
import { heading, line, notTested, summary, textOf } from "./table.ts";
import type { Heading } from "./table.ts";
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
const { full, json, only } = values;
let broker: Heading["broker"] = {};
let begun = performance.now();
const results = await runSuite(target, {
  module,
  seed,
  full,
  ...(only === undefined ? {} : { only }),
  onBroker(started) {
    broker = started;
    begun = performance.now();
    if (!json) console.log(`${heading({ name: target.name, broker, full, seed })}\n`);
  },
  onResult: (result) => {
    if (!json) console.log(line(result));
  },
});
const of = { name: target.name, broker, full, seed };
const wallMs = performance.now() - begun;
const left = notTested(of, results);
if (json) {
  const told = results.map(({ error, ...result }) => (error === undefined ? result : { ...result, error: textOf(error) }));
  const { version } = broker;
  const tier = full ? "full" : "default";
  console.log(JSON.stringify({ transport: target.name, version, tier, seed, seconds: wallMs / 1_000, notTested: left, results: told }));
} else console.log(`\n${summary(of, results, wallMs)}`);
// Of somebody else's server a part stays unproved, unless that is what was asked for.
const accepted = left.length === 0 || process.env["BROKERS"] === "available";
process.exitCode = results.length === 0 || results.some((result) => result.outcome === "failed") || !accepted ? 1 : 0;
