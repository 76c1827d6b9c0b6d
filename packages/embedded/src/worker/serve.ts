import { grab, type Grab } from "../sql/lease.ts";
import { troubleOf } from "../sql/connection.ts";
import { heldUntil, holdGroup } from "../sql/hold.ts";
import { inboxPrefix } from "../sql/pattern.ts";
import { quarantine, type Unsound } from "../sql/read.ts";
import { endLeasesOf } from "../sql/recover.ts";
import { deleteRead, removeInbox } from "../sql/retention.ts";
import { settleAll } from "../sql/settle.ts";
import { readGrab } from "./deliver.ts";
import type { FromWorker, SubscribeCall } from "./protocol.ts";
import { readOn, startReader } from "./reader.ts";
import type { Session } from "./session.ts";
import { type GroupSub, type ReaderSub, roomOf, type Sub } from "./state.ts";

const fresh = {
  granted: 0,
  grantedBytes: 0,
  given: 0,
  givenBytes: 0,
  empty: true,
  dirty: true,
  dueAt: Number.POSITIVE_INFINITY,
  minimum: 1,
  smallSince: undefined,
};

/** In a write transaction. From its commit on, every message that is published will arrive. */
export function startSub(session: Session, call: SubscribeCall, ordered: Set<number>): Sub {
  const { catalog, connection } = session;
  if (call.group === undefined) {
    const topic = call.inbox ?? call.topic;
    const reader: ReaderSub = {
      ...fresh,
      kind: "reader",
      id: call.sub,
      topic,
      pattern: call.pattern,
      inbox: call.inbox !== undefined,
      next: new Map(),
      delayed: [],
    };
    if (call.inbox !== undefined) {
      if (!call.inbox.startsWith(inboxPrefix)) throw new Error("not an inbox address");
      connection.run("insert or ignore into waybill_inboxes (topic, owner) values (?, ?)", call.inbox, session.owner);
      catalog.ensureTopic(call.inbox);
    } else startReader(session, reader, call.from);
    return reader;
  }
  if (call.pattern === undefined) catalog.ensureGroup(call.topic!, call.group, call.from);
  else catalog.ensurePattern(call.pattern, call.group, call.from);
  const sub: GroupSub = {
    ...fresh,
    kind: "group",
    id: call.sub,
    topic: call.topic,
    pattern: call.pattern,
    name: call.group,
    taker: { owner: session.owner, sub: call.sub, leaseMs: call.leaseMs, ordered: call.ordered },
    groups: [],
    turn: 0,
  };
  refreshGroups(session, sub, ordered);
  for (const group of sub.groups) enlist(session, sub, group.id);
  return sub;
}

function enlist(session: Session, sub: GroupSub, group: number): void {
  session.connection.run("insert or ignore into waybill_consumers (owner, sub, grp) values (?, ?, ?)", session.owner, sub.id, group);
}

/** Topics may have come since. */
export function refreshGroups(session: Session, sub: GroupSub, ordered: Set<number>): void {
  if (sub.pattern === undefined) {
    const group = session.catalog.group(sub.topic!, sub.name);
    sub.groups = group === undefined ? [] : [group];
  } else sub.groups = session.catalog.groupsOf(sub.pattern, sub.name);
  if (sub.taker.ordered) for (const group of sub.groups) ordered.add(group.id);
}

/** In a write transaction. What is in hand goes back, uncounted. */
export function endSub(session: Session, sub: Sub): void {
  if (sub.kind === "group") {
    endLeasesOf(session.settling, session.owner, sub.id, "released");
    session.connection.run("delete from waybill_consumers where owner = ? and sub = ?", session.owner, sub.id);
  } else if (sub.inbox) removeInbox(session.connection, session.catalog, sub.topic!);
}

export function hasRoom(sub: Sub): boolean {
  return sub.granted > sub.given && (sub.grantedBytes > sub.givenBytes || sub.empty);
}

/** The user's thread gives a sign every 250 ms while it is not blocked. */
const heardMs = 400;
const silentMs = 2000;

/**
 * Whether the user's thread was heard of lately enough for more to be handed to it. One that is blocked lets its leases run out:
 * taken by it again, they would stay with it, and count as attempts.
 */
export function isHeard({ taker }: GroupSub, silentForMs: number): boolean {
  return silentForMs < Math.max(heardMs, Math.min(silentMs, taker.leaseMs / 2));
}

/** How long a little room waits to become more. */
const smallMs = 20;

/** Whether there is room enough for a fetch of its own. */
export function hasFair(sub: Sub): boolean {
  if (!hasRoom(sub)) return false;
  if (sub.empty || sub.granted - sub.given >= sub.minimum) {
    sub.smallSince = undefined;
    return true;
  }
  sub.smallSince ??= performance.now();
  return performance.now() - sub.smallSince >= smallMs;
}

/** Whether a fetch would find something: looked at without the write lock. */
export function probe(session: Session, sub: GroupSub, now: number): boolean {
  for (const group of sub.groups) {
    const held = sub.taker.ordered ? heldUntil(session.connection, group.id, { ...sub.taker, owner: session.owner }, now) : undefined;
    if (held !== undefined) {
      sub.dueAt = Math.min(sub.dueAt, held, now + 1000);
      continue;
    }
    const fresh = session.connection.one(
      "select 1 from waybill_cursors c join waybill_streams s on s.id = c.stream where c.grp = ? and c.next < s.next limit 1",
      group.id,
    );
    if (fresh !== undefined) return true;
    const due = session.connection.one("select min(due) from waybill_parked where grp = ?", group.id)?.[0];
    if (due !== null && due !== undefined) {
      if (Number(due) <= now) return true;
      sub.dueAt = Math.min(sub.dueAt, Number(due));
    }
  }
  return false;
}

/** In a write transaction: what the subscription may take now. */
export function take(session: Session, sub: GroupSub): Grab[] {
  const now = session.clock.now();
  const room = roomOf(sub);
  const before = { ...room };
  const grabs: Grab[] = [];
  const count = sub.groups.length;
  sub.dueAt = Number.POSITIVE_INFINITY;
  const taker = { ...sub.taker, owner: session.owner };
  for (let i = 0; i < count && room.messages > 0; i++) {
    const group = sub.groups[(sub.turn + i) % count]!;
    if (taker.ordered && !holdGroup(session.connection, group.id, taker, now)) {
      // Somebody else's: look again when the hold may have run out, or when something changes.
      sub.dueAt = Math.min(sub.dueAt, now + Math.min(1000, taker.leaseMs / 2));
      continue;
    }
    if (sub.pattern !== undefined) enlist(session, sub, group.id);
    grabs.push(
      ...grab({ connection: session.connection, catalog: session.catalog, now, nextLease: session.nextLease }, group, taker, room),
    );
    const due = session.connection.one("select min(due) from waybill_parked where grp = ?", group.id)?.[0];
    if (due !== null && due !== undefined) sub.dueAt = Math.min(sub.dueAt, Number(due));
  }
  if (count > 0) sub.turn = (sub.turn + 1) % count;
  sub.given += before.messages - room.messages;
  if (grabs.length > 0) sub.empty = false;
  sub.dirty = grabs.length > 0;
  sub.smallSince = undefined;
  return grabs;
}

export type Post = (message: FromWorker, transfer?: ArrayBuffer[]) => void;

/** After the commit: reads what was taken and hands it over. What is damaged is set aside, told, and never served. */
export function handOver(session: Session, sub: GroupSub, grabs: readonly Grab[], post: Post): void {
  for (const one of grabs) {
    const { message, unsound } = readGrab(session, one, sub.id);
    if (unsound.length > 0 && tryWrite(session, () => setAside(session, one, unsound))) {
      post({ t: "gap", sub: sub.id, count: unsound.length, reason: gapReason(unsound) });
      // They use no credit.
      sub.given -= unsound.length;
    }
    if (message === undefined) continue;
    sub.givenBytes += message.bytes;
    post(message, [message.data, message.meta]);
  }
}

/** Without room, or without the lock, it is met and told at the next delivery. */
function tryWrite(session: Session, run: () => void): boolean {
  try {
    session.write(run);
    return true;
  } catch (error) {
    if (troubleOf(error) === "io") throw error;
    return false;
  }
}

function setAside(session: Session, one: Grab, unsound: readonly (Unsound & { readonly index: number; readonly stream: number })[]): void {
  for (const bad of unsound) quarantine(session.connection, bad.stream, [bad], session.clock.now());
  settleAll(
    session.settling,
    unsound.map((bad) => ({
      kind: "ack",
      group: one.group.id,
      lease: one.lease,
      index: bad.index,
      seq: bad.seq ?? -1,
      attempt: 1,
      ms: 0,
      note: undefined,
      deadLetter: undefined,
    })),
  );
}

function gapReason(unsound: readonly Unsound[]): string {
  const positions = unsound.slice(0, 20).map((bad) => bad.seq ?? `offset ${bad.offset}`);
  return `damaged in the file, positions ${positions.join(", ")}${unsound.length > 20 ? ", …" : ""}`;
}

/** Reads on for a reader. */
export function serveReader(session: Session, sub: ReaderSub, post: Post): void {
  const out = readOn(session, sub);
  if (out.gap > 0) post({ t: "gap", sub: sub.id, count: out.gap, reason: "deleted by retention before they were read" });
  if (out.unsound.length > 0) {
    tryWrite(session, () => {
      for (const bad of out.unsound) quarantine(session.connection, bad.stream, [bad], session.clock.now());
    });
    post({ t: "gap", sub: sub.id, count: out.unsound.length, reason: gapReason(out.unsound) });
  }
  if (out.deliver !== undefined) post(out.deliver, [out.deliver.data, out.deliver.meta]);
}

/** In a write transaction: replies that were handed out need not be kept. */
export function clearInbox(session: Session, sub: ReaderSub): void {
  for (const [stream, next] of sub.next) deleteRead(session.connection, stream, next);
}
