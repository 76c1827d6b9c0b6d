// One server process and its tree: started, stopped, killed, paused, with bounds and with its log in the errors.
import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freezeAll, isAlive, killAll, markName, processesOf, rootOf, signalAll, type Root } from "./process-tree.ts";
import { lastLines } from "./run.ts";
import type { Command } from "./server.ts";
import type { Watch } from "./watch.ts";

export interface NodeProcess {
  /** Starts it and resolves when `probe` does; with what it answered. */
  start(probe: () => Promise<string>): Promise<string>;
  stop(signal: NodeJS.Signals): Promise<void>;
  kill(): Promise<void>;
  /** Every process of it; returns when they stand still. */
  freeze(): void;
  thaw(): void;
  running(): boolean;
  pid(): number | undefined;
  log(): string;
}

const startWithinMs = 90_000;
const stopWithinMs = 60_000;
const probeWithinMs = 5_000;

/** `label` names it in errors and its log file; `part` tells its processes from those of the broker's other nodes. */
export function nodeProcess(watch: Watch, label: string, part: string, command: Command): NodeProcess {
  const mark = `${watch.id}/${part}`;
  const logFile = join(watch.folder, `${part}.log`);
  const roots: Root[] = [];
  const log = (): string => {
    try {
      return lastLines(readFileSync(logFile, "utf8"), 40);
    } catch {
      return "";
    }
  };
  const running = (): boolean => roots.some(isAlive);

  function launch(): void {
    const output = openSync(logFile, "a");
    try {
      const child = spawn(command.program, command.args, {
        detached: true,
        stdio: ["ignore", output, output],
        cwd: command.cwd ?? watch.folder,
        env: { ...process.env, ...command.env, [markName]: mark, NODE_OPTIONS: "", NODE_TEST_CONTEXT: "" },
        ...command.user,
      });
      child.on("error", () => {});
      child.unref();
      if (child.pid === undefined) throw new Error(`${label}: ${command.program} cannot be run`);
      const root = rootOf(child.pid);
      roots.splice(0, roots.length, root);
      watch.tell({ root });
    } finally {
      closeSync(output);
    }
  }

  return {
    running,
    pid: () => roots.find(isAlive)?.pid,
    log,
    async start(probe) {
      if (!running()) launch();
      const end = performance.now() + startWithinMs;
      let last: unknown;
      for (;;) {
        try {
          return await bounded(probe());
        } catch (cause) {
          last = cause;
        }
        if (!running()) throw new Error(`${label} ended while it started:\n${log()}`, { cause: last });
        if (performance.now() > end) throw new Error(`${label} did not serve within ${startWithinMs / 1000} s:\n${log()}`, { cause: last });
        await delay(30);
      }
    },
    async stop(signal) {
      if (!running()) return;
      const end = performance.now() + stopWithinMs;
      signalAll(processesOf(mark, roots), "SIGCONT");
      signalAll(
        roots.filter(isAlive).map((root) => root.pid),
        signal,
      );
      while (running()) {
        if (performance.now() > end) {
          await killAll(mark, roots);
          throw new Error(`${label} did not stop within ${stopWithinMs / 1000} s and was killed:\n${log()}`);
        }
        await delay(20);
      }
      await killAll(mark, roots);
    },
    kill: () => killAll(mark, roots),
    freeze: () => freezeAll(processesOf(mark, roots)),
    thaw: () => signalAll(processesOf(mark, roots), "SIGCONT"),
  };
}

async function bounded(probe: Promise<string>): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([
      probe,
      new Promise<never>((_resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`no answer within ${probeWithinMs} ms`)), probeWithinMs);
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}
