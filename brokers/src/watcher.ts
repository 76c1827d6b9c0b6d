// A process beside each broker. It owns the data folder and holds the ports, and when the pipe to the process that asked
// for the broker closes, in whatever way that process ended, it kills every process of the broker and removes the folder.
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { isAlive, killAll, processesOf, signalAll, type Root } from "./process-tree.ts";
import type { Request, Reply } from "./watch.ts";

const mark = `${process.argv[2] ?? ""}/`;
const folder = mkdtempSync(join(tmpdir(), `waybill-${process.argv[3] ?? "broker"}-`));
const roots: Root[] = [];
const reserved = new Map<number, Server>();
let endSignal: NodeJS.Signals | undefined;

for (const signal of ["SIGINT", "SIGHUP"] as const) process.on(signal, () => {});
process.on("SIGTERM", () => process.stdin.destroy());
process.stdout.on("error", () => {});
const lines = createInterface({ input: process.stdin });
reply({ folder });
let handled = Promise.resolve();
lines.on("line", (line) => {
  handled = handled.then(() => handle(JSON.parse(line) as Request));
});
lines.on("close", () => void handled.then(end));
process.stdin.on("error", () => lines.close());

async function handle(request: Request): Promise<void> {
  if (request.root !== undefined) roots.push(request.root);
  if (request.endSignal !== undefined) endSignal = request.endSignal;
  for (const port of request.release ?? []) {
    reserved.get(port)?.close();
    reserved.delete(port);
  }
  if (request.ports === undefined) return;
  const ports: number[] = [];
  while (ports.length < request.ports) ports.push(await reservePort());
  reply({ ports });
}

async function end(): Promise<void> {
  let failed: unknown;
  try {
    if (endSignal !== undefined) {
      const leaders = roots.filter(isAlive).map((root) => root.pid);
      signalAll(processesOf(mark, roots), "SIGCONT");
      signalAll(leaders, endSignal);
      for (let waited = 0; waited < 3_000 && roots.some(isAlive); waited += 20) await delay(20);
    }
    await killAll(mark, roots);
  } catch (cause) {
    failed = cause;
  }
  rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  if (failed === undefined) return process.exit(0);
  process.stderr.write(`${failed instanceof Error ? failed.message : "unknown"}\n`, () => process.exit(1));
}

/**
 * A free port of 127.0.0.1 below the system's range for outgoing connections, so that none of those takes it while its
 * server is stopped. Held against our other brokers by a socket on 127.0.0.2, where the system has that address.
 */
async function reservePort(): Promise<number> {
  for (let attempt = 0; attempt < 1_000; attempt += 1) {
    const port = 10_240 + Math.floor(Math.random() * 22_000);
    const hold = await bind("127.0.0.2", port);
    if (hold === "taken") continue;
    const probe = await bind("127.0.0.1", port);
    if (typeof probe === "string") {
      if (typeof hold !== "string") hold.close();
      continue;
    }
    await new Promise((resolve) => probe.close(resolve));
    if (typeof hold !== "string") reserved.set(port, hold);
    return port;
  }
  throw new Error("no free port on 127.0.0.1 between 10240 and 32240");
}

function bind(host: string, port: number): Promise<Server | "taken" | "impossible"> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code === "EADDRINUSE" ? "taken" : "impossible"));
    server.listen({ host, port, exclusive: true }, () => resolve(server));
  });
}

function reply(value: Reply): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
