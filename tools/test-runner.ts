// Runs test files, each in a process of its own with a temporary directory of its own, a few at a time. What a file
// leaves behind (a process, a file in the temporary directory) fails it, as do a crash and a file without a test.
import { spawn, type ChildProcess } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";

export interface RunOptions {
  readonly root: string;
  /** How many files run at once. */
  readonly jobs: number;
  /** For each test, unless it sets its own. */
  readonly testTimeoutMs: number;
  /** For each file. */
  readonly fileTimeoutMs: number;
  /** For the whole run. */
  readonly runTimeoutMs: number;
  /** Only tests whose name matches. */
  readonly name?: string;
  /** These run first, with nothing beside them: what they prove has to do with time. Default: none. */
  readonly alone?: (file: string) => boolean;
  /** Documentation snippets: they run in an empty directory, and count as one test that passes when they end well. */
  readonly isScript: (file: string) => boolean;
  readonly print: (text: string) => void;
}

export interface RunResult {
  tests: number;
  passed: number;
  failed: number;
  skipped: number;
  failures: string[];
}

interface Line {
  readonly ok: boolean;
  readonly name: string;
  readonly nesting: number;
  readonly suite: boolean;
  readonly skipped: boolean;
  readonly error?: string;
}

const reporter = new URL("./test-reporter.mjs", import.meta.url).href;
const nodeFlags = ["--conditions=@waybill/source", "--disable-warning=ExperimentalWarning", "--enable-source-maps"];
const maxOutput = 200_000;
/** Of the files that run now, for an end by signal. */
const homes = new Set<string>();

/** Runs the files; never rejects for what a test does. Source order of `files` is the order of starting. */
export async function runFiles(files: readonly string[], options: RunOptions): Promise<RunResult> {
  const result: RunResult = { tests: 0, passed: 0, failed: 0, skipped: 0, failures: [] };
  const deadline = performance.now() + options.runTimeoutMs;
  const isAlone = options.alone ?? ((): boolean => false);
  let queue = files.filter(isAlone);
  const running = new Set<ChildProcess>();
  const stopAll = (): void => {
    for (const child of running) killGroup(child);
  };
  const onSignal = (): void => {
    stopAll();
    for (const home of homes) rmSync(home, { recursive: true, force: true, maxRetries: 3 });
    process.exit(130);
  };
  process.once("SIGINT", onSignal);
  process.once("SIGTERM", onSignal);
  const work = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) fail(result, file, "not run: the whole run took too long");
      else await runFile(file, Math.min(leftMs, options.fileTimeoutMs), options, result, running);
    }
  };
  try {
    await work();
    queue = files.filter((file) => !isAlone(file));
    await Promise.all(Array.from({ length: Math.max(1, options.jobs) }, work));
  } finally {
    stopAll();
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
  }
  return result;
}

async function runFile(file: string, timeoutMs: number, options: RunOptions, result: RunResult, running: Set<ChildProcess>): Promise<void> {
  const started = performance.now();
  const home = mkdtempSync(join(tmpdir(), "wb-"));
  // A broker that runs as another user has its files below it.
  chmodSync(home, 0o711);
  homes.add(home);
  const temp = mkdtempSync(join(home, "t-"));
  chmodSync(temp, 0o711);
  const report = join(home, "report.ndjson");
  try {
    const script = options.isScript(file);
    const cwd = script ? mkdtempSync(join(home, "c-")) : options.root;
    const env: NodeJS.ProcessEnv = { ...process.env, TMPDIR: temp, TMP: temp, TEMP: temp, WAYBILL_TEST_HOME: home };
    delete env["NODE_OPTIONS"];
    delete env["NODE_TEST_CONTEXT"];
    const args = [...nodeFlags, `--test-timeout=${options.testTimeoutMs}`, `--test-reporter=${reporter}`];
    args.push(`--test-reporter-destination=${report}`);
    if (options.name !== undefined) args.push(`--test-name-pattern=${options.name}`);
    const child = spawn(process.execPath, [...args, file], { cwd, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    running.add(child);
    const output = collect(child);
    const end = await ended(child, timeoutMs);
    running.delete(child);
    const left = leftovers(home, temp);
    killGroup(child);
    const lines = readReport(report);
    const problems: string[] = [];
    let tests = 0;
    let passed = 0;
    let failed = 0;
    let skipped = 0;
    for (const line of lines) {
      if (!line.suite) {
        tests += 1;
        if (line.skipped) skipped += 1;
        else if (line.ok) passed += 1;
        else failed += 1;
      } else if (!line.ok && line.error !== "") failed += 1; // a hook of the suite
      if (!line.ok && line.error !== "") problems.push(`${line.name}\n${indent(line.error ?? "")}`);
    }
    if (script) {
      tests = 1;
      if (end.code === 0) passed = 1;
    }
    const add = (text: string): void => {
      problems.push(text);
      failed += 1;
    };
    if (end.timedOut) {
      const limit = `${(timeoutMs / 1000).toFixed(0)} s`;
      add(`did not end within ${limit}: a handle is still open, or it is too slow (last: ${lines.at(-1)?.name ?? "no test ended"})`);
    } else if (end.code !== 0 && failed === 0) add(`ended with ${end.signal ?? `exit code ${end.code}`} although no test failed`);
    else if (tests === 0 && options.name === undefined) add("has no tests");
    for (const what of left) add(`left behind: ${what}`);
    result.tests += tests;
    result.skipped += skipped;
    result.passed += passed;
    result.failed += failed;
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const shown = relative(options.root, file);
    const count = skipped === 0 ? `${tests} tests` : `${tests} tests (${skipped} skipped)`;
    if (failed > 0) {
      const text = output.text();
      const detail = `${shown}\n${indent(problems.join("\n"))}${text === "" ? "" : `\n  its output:\n${indent(indent(text))}`}`;
      result.failures.push(detail);
      options.print(`FAILED  ${shown}  ${count}  ${seconds} s`);
      for (const problem of problems) options.print(`  ✖ ${problem.split("\n", 2).join(": ").replaceAll(/\s+/g, " ").slice(0, 300)}`);
    } else if (tests > 0) options.print(`ok      ${shown}  ${count}  ${seconds} s`);
  } finally {
    homes.delete(home);
    rmSync(home, { recursive: true, force: true, maxRetries: 3 });
  }
}

function fail(result: RunResult, file: string, why: string): void {
  result.failed += 1;
  result.failures.push(`${file}\n  ${why}`);
}

function collect(child: ChildProcess): { text: () => string } {
  let text = "";
  const take = (chunk: Buffer): void => {
    if (text.length < maxOutput) text += chunk.toString("utf8");
  };
  child.stdout?.on("data", take);
  child.stderr?.on("data", take);
  return { text: () => text.trimEnd() };
}

interface End {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly timedOut: boolean;
}

function ended(child: ChildProcess, timeoutMs: number): Promise<End> {
  return new Promise((resolve) => {
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      killGroup(child);
    }, timeoutMs);
    // "exit", not "close": a grandchild that outlives the test keeps the pipes open.
    child.once("exit", (code, signal) => {
      clearTimeout(timer);
      setImmediate(resolve, { code, signal, timedOut });
    });
    child.once("error", () => {
      clearTimeout(timer);
      resolve({ code: -1, signal: null, timedOut });
    });
  });
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(process.platform === "win32" ? child.pid : -child.pid, "SIGKILL");
  } catch {
    // It is gone already.
  }
}

/** Processes that were started with this home in their environment and still run, and files in the temporary directory. */
function leftovers(home: string, temp: string): string[] {
  const found: string[] = [];
  for (const pid of process.platform === "linux" ? readdirSync("/proc") : []) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      if (!readFileSync(`/proc/${pid}/environ`, "utf8").includes(`WAYBILL_TEST_HOME=${home}\0`)) continue;
      readlinkSync(`/proc/${pid}/exe`); // fails for a zombie, which only waits to be collected
      found.push(`a process: ${readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim()}`);
      process.kill(Number(pid), "SIGKILL");
    } catch {
      // It ended meanwhile, or belongs to somebody else.
    }
  }
  for (const name of readdirSync(temp)) {
    if (name !== "node-compile-cache") found.push(`a temporary file: ${name}`);
  }
  return found;
}

function readReport(file: string): Line[] {
  try {
    const lines = readFileSync(file, "utf8").split("\n");
    // The last line is empty, or was cut off when the process was killed.
    return lines.slice(0, -1).map((line): Line => JSON.parse(line) as Line);
  } catch {
    return [];
  }
}

function indent(text: string): string {
  return text.replaceAll(/^(?=.)/gm, "  ");
}
