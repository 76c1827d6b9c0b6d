import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { runUntilSignal } from "./run-until-signal.ts";

const signals = ["SIGINT", "SIGTERM"] as const;
const listeners = () => signals.map((name) => process.listenerCount(name));

void test("the first signal drains and closes, and no listener is left", async () => {
  const before = listeners();
  const drains: unknown[] = [];
  const told: unknown[] = [];
  const run = runUntilSignal(
    { close: async ({ drain }) => drains.push(drain) },
    { drain: "25s", onSignal: (name, count) => told.push([name, count]) },
  );
  assert.deepEqual(
    listeners(),
    before.map((count) => count + 1),
  );
  process.emit("SIGTERM", "SIGTERM");
  await run;
  assert.deepEqual(drains, [25_000]);
  assert.deepEqual(told, [["SIGTERM", 1]]);
  assert.deepEqual(listeners(), before);
  assert.equal(process.exitCode, undefined);
});

void test("an abort signal ends it as well, also one that has fired", async () => {
  const controller = new AbortController();
  let closed = 0;
  const closable = { close: async () => (closed += 1) };
  const run = runUntilSignal(closable, { signal: controller.signal });
  controller.abort();
  await run;
  await runUntilSignal(closable, { signal: controller.signal });
  assert.equal(closed, 2);
});

void test("a close that fails is told, and sets the exit code", async () => {
  const before = listeners();
  const boom = new Error("boom");
  await assert.rejects(runUntilSignal({ close: () => Promise.reject(boom) }, { signal: AbortSignal.abort() }), boom);
  assert.equal(process.exitCode, 1);
  process.exitCode = undefined;
  assert.deepEqual(listeners(), before);
  await assert.rejects(runUntilSignal({ close: async () => {} }, { drain: "soon" }), { code: "CONFIG" });
  assert.deepEqual(listeners(), before);
});

/** A process of its own, that says when it is ready and when it is closing. */
async function start(close: string) {
  const source = `
    import { runUntilSignal } from ${JSON.stringify(new URL("run-until-signal.ts", import.meta.url).href)};
    const run = runUntilSignal({ close: ${close} }, { onSignal: (name, count) => console.log(name + count) });
    console.log("ready");
    await run;
    console.log("done");`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", source], { stdio: ["ignore", "pipe", "inherit"] });
  const lines: string[] = [];
  const reader = createInterface({ input: child.stdout });
  reader.on("line", (line) => lines.push(line));
  const exited = once(child, "close") as Promise<[number | null, string | null]>;
  await once(reader, "line");
  return { child, lines, exited, line: () => once(reader, "line") };
}

void test("a process with nothing else to do stays until the signal, and ends with 0", { timeout: 30_000 }, async () => {
  const { child, lines, exited } = await start("async () => {}");
  child.kill("SIGINT");
  assert.deepEqual(await exited, [0, null]);
  assert.deepEqual(lines, ["ready", "SIGINT1", "done"]);
});

void test("a second signal ends a close that hangs", { timeout: 30_000 }, async () => {
  const { child, lines, exited, line } = await start("() => new Promise(() => {})");
  const first = line();
  child.kill("SIGTERM");
  await first;
  const asked = performance.now();
  child.kill("SIGINT");
  assert.deepEqual(await exited, [130, null]);
  assert.ok(performance.now() - asked < 10_000);
  assert.deepEqual(lines, ["ready", "SIGTERM1", "SIGINT2"]);
});

void test("a second signal closes without draining, where that is possible", { timeout: 30_000 }, async () => {
  const { child, lines, exited, line } = await start(
    "({ drain }) => { console.log(drain); return drain === 0 ? Promise.resolve() : new Promise(() => {}); }",
  );
  const first = line();
  child.kill("SIGTERM");
  await first;
  child.kill("SIGTERM");
  assert.deepEqual(await exited, [143, null]);
  assert.deepEqual(lines, ["ready", "SIGTERM1", "30000", "SIGTERM2", "0"]);
});
