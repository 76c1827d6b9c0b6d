// npm run docs: writes the generated tables, then type-checks and runs every snippet of the documentation.
// With --check it writes no table and fails when one is not what it should be.
import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { globSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { snippetsDirectory, writeSnippets } from "./snippets.ts";
import { staleTables, writeTables } from "./tables.ts";
import { runFiles } from "./test-runner.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const onlyCheck = process.argv.includes("--check");
const problems: string[] = [];

if (onlyCheck) problems.push(...(await staleTables(root)).map((page) => `${page}: a generated table is stale; run npm run docs`));
else for (const page of await writeTables(root)) console.log(`wrote ${page}`);

const snippets = writeSnippets(root);
const runnable = snippets.filter((snippet) => snippet.run);
if (runnable.length === 0) problems.push("no page has a ts fence that runs");
const types = spawnSync("tsc", ["-p", "docs"], { cwd: root, encoding: "utf8", shell: process.platform === "win32" });
if (types.status !== 0) problems.push(`types of the snippets:\n${types.stdout ?? ""}${types.error?.message ?? ""}`);
const result = await runFiles(
  globSync(`${snippetsDirectory}/*.test.ts`, { cwd: root }).map((file) => join(root, file)),
  {
    root,
    jobs: Math.min(4, availableParallelism()),
    testTimeoutMs: 60_000,
    fileTimeoutMs: 60_000,
    runTimeoutMs: 300_000,
    isScript: () => true,
    print: (text) => console.log(text),
  },
);
problems.push(...result.failures);
for (const problem of problems) console.log(`✖ ${problem}`);
console.log(
  `${snippets.length} snippets: ${result.passed} ran, ${snippets.length - runnable.length} only checked, ${problems.length} problems`,
);
process.exitCode = problems.length > 0 ? 1 : 0;
