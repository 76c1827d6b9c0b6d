import { emptyBits, hasBit, setBit } from "./bits.ts";
import type { Catalog, Group } from "./catalog.ts";
import type { Connection } from "./connection.ts";
import { keyOf } from "./record.ts";
import { runsOver, seqsOf } from "./runs.ts";

/** Who takes messages: a subscription of a member (an open transport). */
export interface Taker {
  readonly owner: number;
  readonly sub: number;
  readonly leaseMs: number;
  readonly ordered: boolean;
}

/** What a fetch took. `range`: a stretch of a stream, without the offsets in `skip`. `parked`: single messages. */
export type Grab =
  | {
      readonly kind: "range";
      readonly group: Group;
      readonly lease: number;
      readonly stream: number;
      readonly first: number;
      readonly count: number;
      readonly skip: Uint8Array | undefined;
      readonly expires: number;
    }
  | {
      readonly kind: "parked";
      readonly group: Group;
      readonly lease: number;
      readonly picks: readonly { readonly seq: number; readonly attempt: number; readonly note: string | undefined }[];
      readonly expires: number;
    };

export interface Room {
  messages: number;
  bytes: number;
  /** Nothing is in hand: then one message may be larger than `bytes`. */
  readonly empty: boolean;
}

export interface Leasing {
  readonly connection: Connection;
  readonly catalog: Catalog;
  readonly now: number;
  /** Never the same twice, over all members. */
  nextLease(): number;
}

const maxGrab = 1000;

/** In a write transaction. Takes what the room allows from the group, exceptions first, then the stretch after its cursor. */
export function grab(on: Leasing, group: Group, taker: Taker, room: Room): Grab[] {
  const grabs: Grab[] = [];
  const parked = grabParked(on, group, taker, room);
  if (parked !== undefined) grabs.push(parked);
  if (taker.ordered && hasDueParked(on, group)) return grabs;
  for (const [stream, cursor, next] of freshStreams(on, group, taker.ordered)) {
    if (room.messages <= 0 || room.bytes <= 0) break;
    const range = grabRange(on, group, taker, room, stream, cursor, next);
    if (range !== undefined) grabs.push(range);
  }
  return grabs;
}

/** Streams of the group with messages after its cursor: id, cursor, how far to go. Higher priorities first; ordered: the oldest alone. */
function freshStreams(on: Leasing, group: Group, ordered: boolean): (readonly [number, number, number])[] {
  const rows = on.connection.all(
    `select s.id, c.next, s.next from waybill_cursors c join waybill_streams s on s.id = c.stream
     where c.grp = ? and c.next < s.next order by s.priority desc, s.grp desc`,
    group.id,
  );
  const all = rows.map((row) => [Number(row[0]), Number(row[1]), Number(row[2])] as const);
  if (!ordered || all.length < 2) return all;
  // Order beats priority: go on in the stream with the oldest message, up to where the next stream's begins.
  const heads = all.map((stream) => ({ stream, seq: seqsOf(on.connection, stream[0], stream[1], 1)[0] ?? Number.MAX_SAFE_INTEGER }));
  heads.sort((a, b) => a.seq - b.seq);
  const [id, cursor, next] = heads[0]!.stream;
  const limit = heads[1]!.seq;
  const seqs = seqsOf(on.connection, id, cursor, Math.min(next - cursor, maxGrab));
  const count = seqs.findIndex((seq) => seq > limit);
  return [[id, cursor, count === -1 ? cursor + seqs.length : cursor + count]];
}

function hasDueParked(on: Leasing, group: Group): boolean {
  return on.connection.one("select 1 from waybill_parked where grp = ? and due <= ? limit 1", group.id, on.now) !== undefined;
}

function grabParked(on: Leasing, group: Group, taker: Taker, room: Room): Grab | undefined {
  const { connection, now } = on;
  if (room.messages <= 0) return undefined;
  const rows = connection.all(
    `select p.seq, p.attempt, p.owner, n.note, t.expires, p.key from waybill_parked p
     left join waybill_notes n on n.grp = p.grp and n.seq = p.seq left join waybill_timed t on t.seq = p.seq
     where p.grp = ? and p.due <= ? order by ${taker.ordered ? "p.seq" : "p.due"} limit ?`,
    group.id,
    now,
    Math.min(room.messages, maxGrab),
  );
  if (rows.length === 0) return undefined;
  const lease = on.nextLease();
  const expires = now + taker.leaseMs;
  const picks: { seq: number; attempt: number; note: string | undefined }[] = [];
  for (const row of rows) {
    const seq = Number(row[0]);
    if (row[4] !== null && Number(row[4]) <= now) {
      forgetParked(connection, group.id, seq);
      if (row[5] !== null) wakeFollowers(connection, group.id, String(row[5]), now);
      continue;
    }
    const bytes = Number(connection.one("select length(record) from waybill_messages where seq = ?", seq)?.[0] ?? 0);
    if (bytes > room.bytes && !(room.empty && picks.length === 0)) break;
    // In hand of a member whose lease ran out: that was an attempt.
    const attempt = Number(row[1]) + (row[2] === null ? 0 : 1);
    connection.run(
      "update waybill_parked set attempt = ?, due = ?, owner = ?, sub = ?, lease = ? where grp = ? and seq = ?",
      attempt,
      expires,
      taker.owner,
      taker.sub,
      lease,
      group.id,
      seq,
    );
    room.messages--;
    room.bytes -= bytes;
    picks.push({ seq, attempt, note: row[3] === null ? undefined : String(row[3]) });
  }
  return picks.length === 0 ? undefined : { kind: "parked", group, lease, picks, expires };
}

export function forgetParked(connection: Connection, group: number, seq: number): void {
  connection.run("delete from waybill_parked where grp = ? and seq = ?", group, seq);
  connection.run("delete from waybill_notes where grp = ? and seq = ?", group, seq);
}

/** Messages that waited behind one of their key: may go now, in their order. */
export function wakeFollowers(connection: Connection, group: number, key: string, now: number): void {
  const waits = connection.one(
    "select 1 from waybill_parked where grp = ? and key = ? and owner is null and due > ? limit 1",
    group,
    key,
    now,
  );
  if (waits !== undefined) return;
  connection.run("update waybill_parked set due = ? where grp = ? and key = ? and due is null", now, group, key);
}

function grabRange(on: Leasing, group: Group, taker: Taker, room: Room, stream: number, cursor: number, next: number): Grab | undefined {
  const { connection, now } = on;
  let count = Math.min(next - cursor, room.messages, maxGrab);
  if (count <= 0) return undefined;
  const runs = runsOver(connection, stream, cursor, count);
  const bytes = runs.reduce((sum, run) => sum + run.bytes, 0);
  if (bytes > room.bytes) count = fitting(on, stream, cursor, count, room);
  if (count <= 0) return undefined;
  const lease = on.nextLease();
  const expires = now + taker.leaseMs;
  const done = emptyBits(count);
  let unfinished = count;
  if (runs.some((run) => run.timed)) unfinished -= setTimedAside(on, group, stream, cursor, count, done);
  unfinished -= setRemovedAside(on, group, stream, cursor, count, done);
  if (taker.ordered) unfinished -= setBlockedAside(on, group, stream, cursor, count, done);
  connection.run("update waybill_cursors set next = ? where grp = ? and stream = ?", cursor + count, group.id, stream);
  if (unfinished === 0) return undefined;
  connection.run(
    "insert into waybill_leases values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    lease,
    group.id,
    stream,
    cursor,
    count,
    unfinished,
    done,
    taker.owner,
    taker.sub,
    expires,
  );
  room.messages -= unfinished;
  room.bytes -= bytes;
  const skip = unfinished === count ? undefined : done;
  return { kind: "range", group, lease, stream, first: cursor, count, skip, expires };
}

/** How many messages from the cursor fit into the bytes that are left. */
function fitting(on: Leasing, stream: number, cursor: number, count: number, room: Room): number {
  let left = room.bytes;
  let fits = 0;
  for (const seq of seqsOf(on.connection, stream, cursor, count)) {
    left -= Number(on.connection.one("select length(record) from waybill_messages where seq = ?", seq)?.[0] ?? 0);
    if (left < 0 && !(fits === 0 && room.empty)) break;
    fits++;
    if (left < 0) break;
  }
  return fits;
}

/** Expired ones are done, delayed ones are parked until they are due. Answers how many. */
function setTimedAside(on: Leasing, group: Group, stream: number, first: number, count: number, done: Uint8Array): number {
  const { connection, now } = on;
  const seqs = seqsOf(connection, stream, first, count);
  const index = new Map(seqs.map((seq, i) => [seq, i]));
  let aside = 0;
  for (const row of connection.all(
    "select seq, due, expires from waybill_timed where seq between ? and ?",
    seqs[0] ?? 0,
    seqs.at(-1) ?? -1,
  )) {
    const at = index.get(Number(row[0]));
    if (at === undefined) continue;
    const expired = row[2] !== null && Number(row[2]) <= now;
    const delayed = row[1] !== null && Number(row[1]) > now;
    if (!expired && !delayed) continue;
    if (!setBit(done, at)) continue;
    aside++;
    if (!expired)
      connection.run("insert or replace into waybill_parked (grp, seq, attempt, due) values (?, ?, 1, ?)", group.id, row[0]!, row[1]!);
  }
  return aside;
}

function setRemovedAside(on: Leasing, group: Group, stream: number, first: number, count: number, done: Uint8Array): number {
  const range = [group.id, stream, first, first + count - 1] as const;
  const rows = on.connection.all("select offset from waybill_removed where grp = ? and stream = ? and offset between ? and ?", ...range);
  if (rows.length === 0) return 0;
  let aside = 0;
  for (const row of rows) if (setBit(done, Number(row[0]) - first)) aside++;
  on.connection.run("delete from waybill_removed where grp = ? and stream = ? and offset between ? and ?", ...range);
  return aside;
}

/** In an ordered group: messages whose key has an earlier one that waits for its retry wait behind it. */
function setBlockedAside(on: Leasing, group: Group, stream: number, first: number, count: number, done: Uint8Array): number {
  const { connection } = on;
  const blocked = new Set(
    connection
      .all("select distinct key from waybill_parked where grp = ? and key is not null and owner is null", group.id)
      .map((row) => String(row[0])),
  );
  if (blocked.size === 0) return 0;
  let aside = 0;
  const seqs = seqsOf(connection, stream, first, count);
  for (let i = 0; i < seqs.length; i++) {
    if (hasBit(done, i)) continue;
    const record = connection.one("select record from waybill_messages where seq = ?", seqs[i]!)?.[0];
    const key = record === undefined ? undefined : keyOf(record as Uint8Array);
    if (key === undefined || !blocked.has(key)) continue;
    setBit(done, i);
    aside++;
    connection.run(
      "insert or replace into waybill_parked (grp, seq, attempt, due, key) values (?, ?, 1, null, ?)",
      group.id,
      seqs[i]!,
      key,
    );
  }
  return aside;
}
