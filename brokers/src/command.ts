// The commands of `npm run brokers`. A broker that is up is held by a process in the background; what it wrote down about
// itself is in the cache directory, under `running`.
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { cacheFolder } from "./cache.ts";
import { fromEnvironment } from "./environment.ts";
import { isAlive, rootOf, type Root } from "./process-tree.ts";
import { servers } from "./servers.ts";
import { pidOf, startBroker } from "./start.ts";
import type { BrokerName, RunningBroker } from "./types.ts";
import { within } from "./watch.ts";

interface Held {
  readonly holder: Root;
  readonly nodes: readonly { readonly pid: number; readonly port: number; readonly ports: Readonly<Record<string, number>> }[];
  readonly version: string;
  readonly url: string;
  readonly settings: Readonly<Record<string, string>>;
}

const upWithinMs = 20 * 60_000; // installing included
const downWithinMs = 90_000;

/** Starts it in the background, and prints it; says so when it is up already. */
export async function up(name: BrokerName, nodes: 1 | 3): Promise<void> {
  const given = await fromEnvironment(servers[name])?.({ nodes });
  if (given !== undefined)
    return print(`${name} ${given.version}  ${given.nodes.map((node) => `${node.host}:${node.port}`).join(" ")}  (from the environment)`);
  const before = read(name);
  if (before !== undefined) {
    if (before.nodes.length !== nodes) throw new Error(`${name} is up with ${before.nodes.length} node(s): take it down first`);
    return printRecord(name, before, "  (was up already)");
  }
  const script = fileURLToPath(new URL("main.ts", import.meta.url));
  const child = spawn(process.execPath, [...process.execArgv, script, "hold", `${name}:${nodes}`], {
    detached: true,
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  const said = await within(
    upWithinMs,
    name,
    new Promise<string>((resolve, reject) => {
      child.once("message", (message: string) => resolve(message));
      child.once("error", reject);
      child.once("exit", () => reject(new Error(`the process that holds ${name} ended`)));
    }),
  );
  child.disconnect();
  child.unref();
  const record = read(name);
  if (said !== "up" || record === undefined) throw new Error(said);
  printRecord(name, record, "");
}

/** Ends it, and waits until its holder is gone. */
export async function down(name: BrokerName): Promise<void> {
  const record = read(name);
  if (record === undefined) return;
  process.kill(record.holder.pid, "SIGTERM");
  for (const end = performance.now() + downWithinMs; isAlive(record.holder); await delay(50)) {
    if (performance.now() > end) throw new Error(`${name} is not down ${downWithinMs / 1000} s after its holder was told`);
  }
  rmSync(fileOf(name), { force: true });
  print(`${name} is down`);
}

/** Prints it when it is up, with what each node answers. */
export async function status(name: BrokerName): Promise<void> {
  const record = read(name);
  if (record === undefined) return print(`${name}: not up`);
  printRecord(name, record, "");
  for (const [index, { port }] of record.nodes.entries()) {
    const answer = await servers[name].ask(new URL(`${name}://127.0.0.1:${port}`)).then(
      () => "serves",
      () => "does not answer",
    );
    print(`  node ${index + 1} ${answer}`);
  }
}

/** What the process in the background does: starts the broker, and holds it until SIGTERM. */
export async function hold(name: BrokerName, nodes: 1 | 3): Promise<void> {
  let broker: RunningBroker | undefined;
  let told = false;
  const end = async (): Promise<void> => {
    if (told) return;
    told = true;
    await broker?.[Symbol.asyncDispose]();
    rmSync(fileOf(name), { force: true });
    process.exit(0);
  };
  const abandoned = (): void => void end();
  process.on("SIGTERM", abandoned);
  process.on("SIGINT", abandoned);
  process.on("disconnect", abandoned); // the command that waits for this one was ended
  try {
    broker = await startBroker(name, { nodes });
    write(name, broker);
  } catch (cause) {
    process.send?.(cause instanceof Error ? cause.message : String(cause), () => process.exit(1));
    return;
  }
  process.off("disconnect", abandoned);
  setInterval(() => {}, 1 << 30); // nothing else keeps this process alive
  process.send?.("up");
}

function fileOf(name: BrokerName): string {
  const folder = join(cacheFolder(), "running");
  mkdirSync(folder, { recursive: true });
  return join(folder, `${name}.json`);
}

function write(name: BrokerName, { nodes, version, url, settings }: RunningBroker): void {
  const record: Held = {
    holder: rootOf(process.pid),
    nodes: nodes.map((node) => ({ pid: pidOf(node), port: node.port, ports: node.ports })),
    version,
    url,
    settings,
  };
  writeFileSync(`${fileOf(name)}.new`, JSON.stringify(record), { mode: 0o600 });
  renameSync(`${fileOf(name)}.new`, fileOf(name));
}

/** Undefined when it is not up; what a holder that is gone left is ignored. */
function read(name: BrokerName): Held | undefined {
  try {
    const record = JSON.parse(readFileSync(fileOf(name), "utf8")) as Held;
    return isAlive(record.holder) ? record : undefined;
  } catch {
    return undefined;
  }
}

function printRecord(name: BrokerName, record: Held, note: string): void {
  print(`${name} ${record.version}  ${record.url}${note}`);
  for (const [index, { pid, port, ports }] of record.nodes.entries()) {
    const others = Object.entries(ports).map(([what, number]) => `${what} ${number}`);
    print(`  node ${index + 1}  ${[`127.0.0.1:${port}`, ...others, `pid ${pid}`].join("  ")}`);
  }
  for (const [key, value] of Object.entries(record.settings)) print(`  ${key} = ${value}`);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
