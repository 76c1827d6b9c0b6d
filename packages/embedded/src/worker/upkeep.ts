import { statSync } from "node:fs";
import { noteClock } from "../sql/clock.ts";
import { troubleOf } from "../sql/connection.ts";
import { isDead, joinMembers, listMembers, removeMember, thisProcess } from "../sql/members.ts";
import { recoverExpired } from "../sql/recover.ts";
import { deleteOld } from "../sql/retention.ts";
import type { WorkerSettings } from "./protocol.ts";
import { clearInbox } from "./serve.ts";
import type { Session } from "./session.ts";
import type { Sub } from "./state.ts";

export interface Upkeep {
  stop(): void;
  /** Delete what can be deleted now: there is no room. */
  makeRoom(): void;
}

export interface UpkeepOn {
  session(): Session | undefined;
  /** Messages may have come free. */
  woken(): void;
  trouble(error: unknown): void;
}

const everyMs = 200;
const slowestMs = 5000;
const fastestMs = 500;
/** Above it the write-ahead log is copied back even when only the user's thread commits, which never does that itself. */
const walBytes = 24 * 1024 * 1024;

/** What has to be done now and then: leases that ran out, members that died, retention, the write-ahead log. */
export function startUpkeep(settings: WorkerSettings, subs: ReadonlyMap<number, Sub>, on: UpkeepOn): Upkeep {
  const self = thisProcess();
  const slowEveryMs = Math.min(slowestMs, Math.max(fastestMs, settings.retentionMs));
  let slowAt = 0;
  let more = false;
  const timer = setInterval(() => {
    const session = on.session();
    if (session === undefined) return;
    try {
      if (keepLeases(session)) on.woken();
      if (keepMembers(session, self)) on.woken();
      clearInboxes(session, subs);
      checkpoint(session, settings.path);
      if (more || performance.now() - slowAt > slowEveryMs) {
        slowAt = performance.now();
        more = keepFile(session, settings);
      }
    } catch (error) {
      // Full or busy: next time. The disk itself: opened anew.
      if (troubleOf(error) === "io") on.trouble(error);
    }
  }, everyMs);
  return {
    stop: () => clearInterval(timer),
    makeRoom() {
      more = true;
    },
  };
}

function keepLeases(session: Session): boolean {
  const due = session.connection.one("select 1 from waybill_leases where expires <= ? limit 1", session.clock.now());
  return due !== undefined && session.write(() => recoverExpired(session.settling));
}

function keepMembers(session: Session, self: ReturnType<typeof thisProcess>): boolean {
  const others = listMembers(session).filter((member) => member.id !== session.owner);
  session.crowded = others.length > 0;
  const now = session.clock.now();
  const dead = others.filter((member) => isDead(member, self, now));
  if (dead.length === 0) return false;
  session.write(() => {
    for (const member of dead) removeMember(session.settling, member.id, "died");
  });
  return true;
}

function clearInboxes(session: Session, subs: ReadonlyMap<number, Sub>): void {
  for (const sub of subs.values()) {
    if (sub.kind !== "reader" || !sub.inbox || sub.next.size === 0) continue;
    const read = [...sub.next].some(
      ([stream, next]) =>
        session.connection.one("select 1 from waybill_runs where stream = ? and first + count <= ? limit 1", stream, next) !== undefined ||
        session.connection.one("select 1 from waybill_streams where id = ? and run_first < next and next <= ?", stream, next) !== undefined,
    );
    if (read) session.write(() => clearInbox(session, sub));
  }
}

/** Answers whether there is more to delete. */
function keepFile(session: Session, settings: WorkerSettings): boolean {
  return session.write(() => {
    const { connection, clock } = session;
    const now = clock.now();
    noteClock(connection, clock);
    if (connection.run("update waybill_members set seen = ? where id = ?", now, session.owner) === 0) {
      // Taken for dead, after a long stop: what was in hand is others' by now.
      session.owner = joinMembers(session.settling);
    }
    connection.run("delete from waybill_recent where at < ?", now - settings.deduplicationMs);
    return deleteOld(connection, now, settings.retentionMs);
  });
}

function checkpoint(session: Session, path: string): void {
  const wal = statSync(`${path}-wal`, { throwIfNoEntry: false });
  if (wal !== undefined && wal.size > walBytes) session.connection.exec("pragma wal_checkpoint(passive)");
}

/** A clean end: what is in hand goes back uncounted. */
export function leave(session: Session): void {
  session.write(() => removeMember(session.settling, session.owner, "left"));
}
