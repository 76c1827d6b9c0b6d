// npm run check: everything but the tests. Runs all steps, prints the seconds of each, and fails when one fails.
//   npm run check -- types lint    only these
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { writeSnippets } from "./snippets.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const source = ["--conditions=@waybill/source", "--disable-warning=ExperimentalWarning"];
const stepTimeoutMs = 600_000;

type Command = readonly [string, ...string[]];
const steps: Readonly<Record<string, readonly Command[]>> = {
  types: [
    ["tsc", "-p", "tsconfig.json"],
    ["tsc", "-p", "examples/order-system"],
    ["tsc", "-p", "docs"],
  ],
  lint: [["oxlint", "--deny-warnings"]],
  format: [["oxfmt", "--check"]],
  boundaries: [["node", ...source, "--test-reporter=dot", "tools/boundaries.test.ts"]],
  docs: [["node", ...source, "tools/docs.ts", "--check"]],
  tarballs: [["node", ...source, "tools/tarballs.ts"]],
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => steps[name] === undefined);
if (unknown.length > 0) {
  console.log(`no such check: ${unknown.join(", ")} (there are: ${Object.keys(steps).join(", ")})`);
  process.exit(2);
}
writeSnippets(root);
const failed: string[] = [];
for (const [name, commands] of Object.entries(steps)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const started = performance.now();
  const output: string[] = [];
  for (const [program, ...args] of commands) {
    const done = spawnSync(program, args, {
      cwd: root,
      encoding: "utf8",
      timeout: stepTimeoutMs,
      shell: process.platform === "win32",
    });
    if (done.status !== 0) {
      const why = done.error?.message ?? done.signal ?? `exit code ${done.status}`;
      output.push(`${[program, ...args].join(" ")}: ${why}\n${done.stdout}${done.stderr}`);
    }
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${output.length === 0 ? "ok     " : "FAILED "} ${name}  ${seconds} s`);
  for (const text of output) console.log(text.trimEnd().replaceAll(/^/gm, "  "));
  if (output.length > 0) failed.push(name);
}
console.log(failed.length === 0 ? "all checks passed" : `failed: ${failed.join(", ")}`);
process.exitCode = failed.length === 0 ? 0 : 1;
