// Which processes belong to a broker, and signals to all of them. A server's processes are found by what it was started
// with: a mark in the environment, its session and group, and their children; so also those that outlived their parent.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

/** The environment variable that every process of a broker carries: `<broker>/<node>`. */
export const markName = "WAYBILL_BROKER_NODE";

/** A process that was started; the time tells it from a later one with the same id. */
export interface Root {
  readonly pid: number;
  readonly startedAt: string;
}

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  readonly startedAt: string;
}

const hasProc = existsSync("/proc/self/stat");

export function rootOf(pid: number): Root {
  return { pid, startedAt: (hasProc ? readProcess(pid) : listProcesses().find((one) => one.pid === pid))?.startedAt ?? "" };
}

/** True while exactly this process exists. */
export function isAlive(root: Root): boolean {
  const found = hasProc ? readProcess(root.pid) : listProcesses().find((one) => one.pid === root.pid);
  return found !== undefined && found.startedAt === root.startedAt;
}

/** The ids of all processes that carry `mark` (with a final `/`: all whose mark begins so) or descend from `roots`. */
export function processesOf(mark: string, roots: readonly Root[]): number[] {
  const all = listProcesses();
  const byId = new Map(all.map((one) => [one.pid, one]));
  const leaders = new Set<number>();
  for (const root of roots) {
    const now = byId.get(root.pid);
    if (now === undefined || now.startedAt === root.startedAt) leaders.add(root.pid);
  }
  const found = new Set<number>();
  for (const one of all) {
    if (one.pid === process.pid) continue;
    if (leaders.has(one.pid) || leaders.has(one.session) || leaders.has(one.group) || carries(one.pid, mark)) found.add(one.pid);
  }
  for (let grown = true; grown;) {
    grown = false;
    for (const one of all) {
      if (!found.has(one.parent) || found.has(one.pid) || one.pid === process.pid) continue;
      found.add(one.pid);
      grown = true;
    }
  }
  return [...found];
}

/** Sends `signal` to each; one that is gone already is no error. */
export function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "ESRCH") throw cause;
    }
  }
}

/**
 * Freezes each, and returns when all their threads stand still. The system stops a process only when the thread that got
 * the signal runs, which on a busy machine may be after the next request was answered. Blocks for at most `withinMs`.
 */
export function freezeAll(pids: readonly number[], withinMs = 3_000): void {
  signalAll(pids, "SIGSTOP");
  const end = performance.now() + withinMs;
  const pause = new Int32Array(new SharedArrayBuffer(4));
  while (hasProc && !pids.every(isFrozen) && performance.now() < end) Atomics.wait(pause, 0, 0, 1);
}

function isFrozen(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).every((thread) =>
      /\) [TtZX] /.test(readFileSync(`/proc/${pid}/task/${thread}/stat`, "latin1")),
    );
  } catch {
    return true; // it has ended
  }
}

/** Kills until none is left; throws when some are still there after `withinMs`. */
export async function killAll(mark: string, roots: readonly Root[], withinMs = 10_000): Promise<void> {
  const end = performance.now() + withinMs;
  for (;;) {
    const pids = processesOf(mark, roots);
    if (pids.length === 0) return;
    signalAll(pids, "SIGKILL");
    if (performance.now() > end) throw new Error(`processes ${pids.join(", ")} are still there ${withinMs} ms after SIGKILL`);
    await delay(10);
  }
}

function carries(pid: number, mark: string): boolean {
  if (!hasProc) return false;
  try {
    const entry = `\0${markName}=${mark}`;
    const environment = `\0${readFileSync(`/proc/${pid}/environ`, "latin1")}\0`;
    return environment.includes(mark.endsWith("/") ? entry : `${entry}\0`);
  } catch {
    return false;
  }
}

/**
 * Zombies are left out: they are dead, and their parent's to collect. But for those that have threads: while one of them
 * ends, the process still has its ports.
 */
function readProcess(pid: number): Process | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined;
  }
  const [state, parent, group, session, ...rest] = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const threads = Number(rest[13]);
  if (state === "X" || (state === "Z" && threads <= 1)) return undefined;
  return { pid, parent: Number(parent), group: Number(group), session: Number(session), startedAt: rest[15] ?? "" };
}

function listProcesses(): Process[] {
  if (!hasProc) return listByPs();
  const found: Process[] = [];
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    const one = Number.isInteger(pid) ? readProcess(pid) : undefined;
    if (one !== undefined) found.push(one);
  }
  return found;
}

function listByPs(): Process[] {
  const { stdout } = spawnSync("ps", ["-axo", "pid=,ppid=,pgid=,stat=,lstart="], { encoding: "utf8", timeout: 10_000 });
  const found: Process[] = [];
  for (const line of stdout.split("\n")) {
    const [pid, parent, group, state, ...startedAt] = line.trim().split(/\s+/);
    if (state === undefined || state.startsWith("Z")) continue;
    found.push({ pid: Number(pid), parent: Number(parent), group: Number(group), session: 0, startedAt: startedAt.join(" ") });
  }
  return found;
}
