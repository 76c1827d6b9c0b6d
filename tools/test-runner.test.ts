import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { runFiles, type RunOptions, type RunResult } from "./test-runner.ts";

async function run(files: Record<string, string>, options: Partial<RunOptions> = {}): Promise<RunResult> {
  const root = mkdtempSync(join(tmpdir(), "waybill-runner-"));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text);
    return await runFiles(
      Object.keys(files).map((name) => join(root, name)),
      {
        root,
        jobs: 2,
        testTimeoutMs: 20_000,
        fileTimeoutMs: 30_000,
        runTimeoutMs: 60_000,
        isScript: (file) => file.endsWith(".script.ts"),
        print: () => {},
        ...options,
      },
    );
  } finally {
    rmSync(root, { recursive: true });
  }
}

const load = `import { test, describe, after } from "node:test";`;
const passing = `${load} test("a", () => {}); describe("s", () => { test("b", () => {}); test("c", { skip: "why" }, () => {}); });`;

test("passed, failed and skipped tests are counted; a suite is not a test", async () => {
  const result = await run({
    "a.test.ts": passing,
    "b.test.ts": `${load} describe("s", () => { test("bad", () => { throw new Error("boom"); }); test("good", () => {}); });`,
  });
  assert.deepEqual({ ...result, failures: 1 }, { tests: 5, passed: 3, failed: 1, skipped: 1, failures: 1 });
  assert.match(result.failures[0] ?? "", /b\.test\.ts[^]*bad[^]*Error: boom/);
});

test("a file that cannot be loaded, one that dies, one without a test and a failing hook fail", async () => {
  const result = await run({
    "load.test.ts": `throw new Error("at load");`,
    "dies.test.ts": `${load} test("a", () => {}); process.on("exit", () => { process.exitCode = 3; });`,
    "killed.test.ts": `${load} test("a", () => { process.kill(process.pid, "SIGKILL"); });`,
    "empty.test.ts": "export {};",
    "hook.test.ts": `${load} describe("s", () => { after(() => { throw new Error("in the hook"); }); test("a", () => {}); });`,
  });
  assert.equal(result.failures.length, 5, result.failures.join("\n"));
  assert.equal(result.failed, 5);
  const all = result.failures.join("\n");
  for (const text of [/at load/, /exit code 3/, /SIGKILL/, /has no tests/, /in the hook/]) assert.match(all, text);
});

test("an open handle ends in a failure that says so", async () => {
  const result = await run({ "open.test.ts": `${load} test("a", () => { setInterval(() => {}, 1000); });` }, { fileTimeoutMs: 1_500 });
  assert.equal(result.failed, 1);
  assert.match(result.failures[0] ?? "", /did not end within 2 s: a handle is still open/);
});

test("a test that hangs ends in its time-out", async () => {
  const result = await run(
    {
      "hang.test.ts": `${load} test("hangs", () => new Promise((r) => setTimeout(r, 60_000).unref())); setTimeout(() => {}, 900);`,
    },
    { testTimeoutMs: 400 },
  );
  assert.equal(result.failed, 1);
  assert.match(result.failures[0] ?? "", /hangs[^]*timed out/);
});

test("a file or a process left behind fails", { skip: process.platform === "linux" ? false : "needs /proc" }, async () => {
  const result = await run({
    "temp.test.ts": `${load} import { mkdtempSync } from "node:fs"; import { tmpdir } from "node:os"; import { join } from "node:path";
      test("a", () => { mkdtempSync(join(tmpdir(), "forgotten-")); });`,
    "child.test.ts": `${load} import { spawn } from "node:child_process";
      test("a", () => { spawn(process.execPath, ["-e", "setTimeout(() => {}, 60000)"], { detached: true, stdio: "ignore" }).unref(); });`,
  });
  assert.equal(result.failed, 2, result.failures.join("\n"));
  assert.match(result.failures.join("\n"), /left behind: a temporary file: forgotten-/);
  assert.match(result.failures.join("\n"), /left behind: a process: .*60000/);
});

test("a snippet is one test, run in an empty directory", async () => {
  const result = await run({
    "good.script.ts": `import { readdirSync, writeFileSync } from "node:fs"; if (readdirSync(".").length) throw new Error("not empty"); writeFileSync("orders.db", "");`,
    "bad.script.ts": `throw new Error("wrong");`,
  });
  assert.deepEqual({ ...result, failures: result.failures.length }, { tests: 2, passed: 1, failed: 1, skipped: 0, failures: 1 });
});

test("names filter tests, and what the whole run has no time for is a failure", async () => {
  const named = await run({ "a.test.ts": passing }, { name: "^b$" });
  assert.deepEqual(named, { tests: 1, passed: 1, failed: 0, skipped: 0, failures: [] });
  const late = await run({ "a.test.ts": passing }, { runTimeoutMs: 0 });
  assert.match(late.failures[0] ?? "", /not run/);
});

test("a file that has to be alone runs before the others, and with nothing beside it", async () => {
  const note = (
    name: string,
  ): string => `${load} import { appendFileSync } from "node:fs"; import { setTimeout } from "node:timers/promises";
    const log = new URL("./log", import.meta.url);
    test("a", async () => { appendFileSync(log, "${name}<"); await setTimeout(50); appendFileSync(log, "${name}>"); });`;
  const last = `${load} import assert from "node:assert"; import { readFileSync } from "node:fs";
    test("a", () => { assert.match(readFileSync(new URL("./log", import.meta.url), "utf8"), /^(x<x>y<y>|y<y>x<x>)/); });`;
  const files = { "z.test.ts": note("z"), "x.test.ts": note("x"), "y.test.ts": note("y"), "last.test.ts": last };
  const result = await run(files, { alone: (file) => /[xy]\.test\.ts$/.test(file) });
  assert.deepEqual(result, { tests: 4, passed: 4, failed: 0, skipped: 0, failures: [] });
});
