// npm test: every test of the repository, the documentation's snippets among them.
//   npm test -- packages/core retry    only files whose path contains one of these
//   npm test -- --name "dead letter"   only tests whose name matches
//   npm test -- --jobs 1               one file at a time
//   BROKERS=available npm test         without the servers that cannot be had; the last line says what was not tested
import { globSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { environmentName, installBroker, type BrokerName } from "@waybill/brokers";
import { snippetsDirectory, writeSnippets } from "./snippets.ts";
import { prepareBrokers } from "./test-brokers.ts";
import { runFiles } from "./test-runner.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const patterns = [
  "packages/*/src/**/*.test.ts",
  "examples/*/src/**/*.test.ts",
  "bench/src/**/*.test.ts",
  "brokers/src/**/*.test.ts",
  "tools/*.test.ts",
  "docs/.snippets/*.test.ts",
];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { name: { type: "string" }, jobs: { type: "string" } },
});
const jobs = Number(values.jobs ?? Math.min(4, availableParallelism()));
if (!Number.isSafeInteger(jobs) || jobs < 1) {
  console.error("--jobs: expected a whole number from 1");
  process.exit(2);
}
writeSnippets(root);
const files = globSync(patterns, { cwd: root })
  .filter((file) => positionals.length === 0 || positionals.some((part) => file.split(sep).join("/").includes(part)))
  .map((file) => join(root, file))
  .toSorted((a, b) => weight(b) - weight(a));
const started = performance.now();
const brokers = await prepareBrokers(files, {
  root,
  install: (name) => installBroker(name as BrokerName),
  addressOf(name) {
    const variable = environmentName(name as BrokerName);
    return (process.env[variable] ?? "").trim() === "" ? undefined : variable;
  },
  env: process.env,
  print: (text) => console.log(text),
});
const result = await runFiles(brokers.files, {
  root,
  jobs,
  testTimeoutMs: 120_000,
  fileTimeoutMs: 420_000,
  runTimeoutMs: 1_740_000,
  ...(values.name === undefined ? {} : { name: values.name }),
  // These measure time in this process; those of a server mostly wait for it, and run beside each other.
  alone: (file) => /[\\/](?:core|embedded)[\\/].*conformance[.\w-]*\.test\.ts$/.test(file),
  isScript: (file) => file.startsWith(join(root, snippetsDirectory)),
  print: (text) => console.log(text),
});
for (const failure of [...result.failures, ...brokers.failures]) console.log(`\n✖ ${failure}`);
result.failed += brokers.failures.length;
if (result.tests === 0) {
  console.log(`\n✖ no test ran (${files.length} files)`);
  result.failed += 1;
}
console.log(`
# tests ${result.tests}
# pass ${result.passed}
# fail ${result.failed}
# skipped ${result.skipped}
# files ${files.length}
# seconds ${((performance.now() - started) / 1000).toFixed(1)}
${result.passed} passed, ${result.failed} failed${brokers.notTested.map((what) => `; not tested: ${what}`).join("")}`);
process.exitCode = result.failed > 0 ? 1 : 0;

/** Long suites first, so that none is left to run alone at the end. */
function weight(file: string): number {
  const path = relative(root, file);
  const heavy = /conformance|crash|chaos|order-system|sabotage/.test(path) ? 1e9 : 0;
  return heavy + statSync(file).size;
}
