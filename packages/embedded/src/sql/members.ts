import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { bootId } from "./clock.ts";
import { freeRowsOf } from "./outbox.ts";
import { endLeasesOf } from "./recover.ts";
import type { Settling } from "./settle.ts";
import { removeInbox } from "./retention.ts";

/** A process as the file knows it: its id alone could belong to a later one. */
export interface Process {
  readonly pid: number;
  readonly started: string;
  readonly boot: string;
  /** Process ids mean something only within it: the host and, in a container, its namespace. */
  readonly space: string;
}

/** When a process started, as far as the system tells: then a process id that was given again is noticed. */
export function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name in parentheses may hold anything; the 22nd field is the 20th after it.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}

export function thisProcess(): Process {
  let namespace = "";
  try {
    namespace = readlinkSync("/proc/self/ns/pid");
  } catch {
    // Not Linux: there are no such namespaces.
  }
  return { pid: process.pid, started: startOf(process.pid), boot: bootId(), space: `${hostname()} ${namespace}` };
}

/** Without a sign of life for so long a member counts as dead even if its process cannot be looked at. */
const silentMs = 60_000;

export function isDead(member: Process & { readonly seen: number }, self: Process, now: number): boolean {
  if (member.boot !== self.boot && member.space === self.space) return true;
  if (member.space !== self.space || member.boot !== self.boot) return now - member.seen > silentMs;
  try {
    process.kill(member.pid, 0);
  } catch (error) {
    return !(error instanceof Error && "code" in error && error.code === "EPERM");
  }
  return member.started !== "" && startOf(member.pid) !== member.started;
}

/** In a write transaction; answers the member's id, which is never given again. */
export function joinMembers(on: Omit<Settling, "owner">): number {
  const self = thisProcess();
  on.connection.run(
    "insert into waybill_members (pid, started, boot, space, seen) values (?, ?, ?, ?, ?)",
    self.pid,
    self.started,
    self.boot,
    self.space,
    on.clock.now(),
  );
  return Number(on.connection.one("select last_insert_rowid()")![0]);
}

export function listMembers(on: Pick<Settling, "connection">): (Process & { readonly id: number; readonly seen: number })[] {
  return on.connection.all("select id, pid, started, boot, space, seen from waybill_members").map((row) => ({
    id: Number(row[0]),
    pid: Number(row[1]),
    started: String(row[2]),
    boot: String(row[3]),
    space: String(row[4]),
    seen: Number(row[5]),
  }));
}

/** In a write transaction: `died` counts what was in hand as an attempt, a clean leave does not. */
export function removeMember(on: Settling, id: number, how: "died" | "left"): void {
  endLeasesOf(on, id, undefined, how === "died" ? "expired" : "released");
  for (const row of on.connection.all("select topic from waybill_inboxes where owner = ?", id))
    removeInbox(on.connection, on.catalog, String(row[0]));
  on.connection.run("delete from waybill_consumers where owner = ?", id);
  freeRowsOf(on.connection, id);
  on.connection.run("delete from waybill_members where id = ?", id);
}
