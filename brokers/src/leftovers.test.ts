import assert from "node:assert/strict";
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { globSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { assertNothingLeft, isOpen, privateFolder, processesWith, until } from "./private-folder.fixture.ts";

const folder = privateFolder();
after(() => folder.remove());
const script = fileURLToPath(new URL("start.fixture.ts", import.meta.url));

async function run(...words: string[]): Promise<{ readonly child: ChildProcess; readonly ports: readonly number[] }> {
  const child = spawn(process.execPath, [...process.execArgv.filter((word) => !word.startsWith("--test")), script, ...words], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, NODE_TEST_CONTEXT: "" },
  });
  const [data] = (await Promise.race([once(child.stdout, "data"), once(child, "exit")])) as [unknown];
  assert.ok(data instanceof Buffer, `the process ended with ${String(data)} before its brokers were up`);
  return { child, ports: data.toString().trim().split(" ").map(Number) };
}

/** The ids of the System V shared memory segments of this machine. */
function segments(): string[] {
  const { stdout } = spawnSync("ipcs", ["-m"], { encoding: "utf8", timeout: 5_000 });
  return [...(stdout ?? "").matchAll(/^0x[\da-f]+\s+(\d+)/gm)].map((match) => match[1] ?? "");
}

/** The id of PostgreSQL's. */
function segmentOf(data: string): string {
  return readFileSync(join(data, "postmaster.pid"), "utf8").split("\n")[6]?.trim().split(/\s+/)[1] ?? "";
}

test("a process that is killed with SIGKILL takes its brokers with it", { timeout: 120_000 }, async () => {
  const { child, ports } = await run("rabbitmq", "postgres", "redis", "--wait");
  assert.equal(ports.length, 3);
  for (const port of ports) assert.equal(await isOpen(port), true);
  assert.ok(processesWith(folder.path).length > 6);
  const [data] = globSync("waybill-postgres-*/node1/data", { cwd: folder.path });
  const segment = segmentOf(join(folder.path, data ?? ""));
  assert.ok(segments().includes(segment));
  child.kill("SIGKILL");
  await until("no process is left", 15_000, () => processesWith(folder.path).length === 0);
  await until("no file is left", 5_000, () => readdirSync(folder.path).length === 0);
  await assertNothingLeft(folder.path, ports);
  assert.ok(!segments().includes(segment));
});

test("a process that has disposed of its broker ends by itself", { timeout: 60_000 }, async () => {
  const { child, ports } = await run("redis", "--dispose");
  const [code] = (await once(child, "exit")) as [number];
  assert.equal(code, 0);
  await assertNothingLeft(folder.path, ports);
});

test("a process that forgot its broker ends by itself too, and the broker with it", { timeout: 60_000 }, async () => {
  const { child, ports } = await run("redis");
  const [code] = (await once(child, "exit")) as [number];
  assert.equal(code, 0);
  await until("no process is left", 15_000, () => processesWith(folder.path).length === 0);
  await until("no file is left", 5_000, () => readdirSync(folder.path).length === 0);
  await assertNothingLeft(folder.path, ports);
});
