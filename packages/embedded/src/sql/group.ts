import type { Browsed, Inspection, StartPosition } from "@waybill/core";
import { hasBit, setBit } from "./bits.ts";
import type { Catalog, Group, Stream } from "./catalog.ts";
import type { Connection } from "./connection.ts";
import { failed } from "./failure.ts";
import { forgetParked, wakeFollowers } from "./lease.ts";
import { readSingle } from "./read.ts";
import { readRecord, timeOf } from "./record.ts";
import { runBefore, stretchesOf } from "./runs.ts";
import { startOffset } from "./start.ts";

interface LeaseRow {
  readonly id: number;
  readonly stream: number;
  readonly first: number;
  readonly count: number;
  readonly unfinished: number;
  readonly done: Uint8Array;
  readonly owner: number;
  readonly sub: number;
}

function leasesOf(connection: Connection, group: number): LeaseRow[] {
  return connection
    .all("select id, stream, first, count, unfinished, owner, sub, done from waybill_leases where grp = ?", group)
    .map((row) => ({
      id: Number(row[0]),
      stream: Number(row[1]),
      first: Number(row[2]),
      count: Number(row[3]),
      unfinished: Number(row[4]),
      owner: Number(row[5]),
      sub: Number(row[6]),
      done: row[7] as Uint8Array,
    }));
}

function freshOf(connection: Connection, group: number): { readonly stream: number; readonly cursor: number; readonly next: number }[] {
  return connection
    .all(
      "select s.id, c.next, s.next from waybill_cursors c join waybill_streams s on s.id = c.stream where c.grp = ? and c.next < s.next",
      group,
    )
    .map((row) => ({ stream: Number(row[0]), cursor: Number(row[1]), next: Number(row[2]) }));
}

/** Positions that the group has not settled, in order, after `after`, at most `limit`. */
export function unsettledSeqs(connection: Connection, group: number, after: number, limit: number): number[] {
  const found: number[] = [];
  for (const lease of leasesOf(connection, group)) {
    for (const stretch of stretchesOf(connection, lease.stream, lease.first, lease.count)) {
      for (let i = 0; i < stretch.count; i++) {
        const seq = stretch.seq + i;
        if (seq > after && !hasBit(lease.done, stretch.first + i - lease.first)) found.push(seq);
      }
    }
  }
  for (const row of connection.all("select seq from waybill_parked where grp = ? and seq > ? order by seq limit ?", group, after, limit)) {
    found.push(Number(row[0]));
  }
  const removed = new Set(
    connection.all("select stream, offset from waybill_removed where grp = ?", group).map((row) => `${String(row[0])}:${String(row[1])}`),
  );
  for (const { stream, cursor, next } of freshOf(connection, group)) {
    // The run that `after` lies in, or the first one later.
    let from = cursor;
    const run = runBefore(connection, stream, after);
    if (run !== undefined) from = Math.max(from, run.first + Math.min(run.count, after - run.seq + 1));
    for (const stretch of stretchesOf(connection, stream, from, Math.min(limit + removed.size, next - from))) {
      for (let i = 0; i < stretch.count; i++) {
        if (!removed.has(`${stream}:${stretch.first + i}`)) found.push(stretch.seq + i);
      }
    }
  }
  return found.sort((a, b) => a - b).slice(0, limit);
}

export function inspectGroup(
  connection: Connection,
  catalog: Catalog,
  topic: string,
  name: string,
  owners: (id: number) => string,
): Inspection {
  const group = catalog.group(topic, name);
  if (group === undefined) {
    const unknown = { unknown: `group ${name} does not exist on ${topic}` };
    return { depth: unknown, inFlight: unknown, lagMessages: unknown, oldestAgeMs: unknown, consumers: unknown };
  }
  const leases = leasesOf(connection, group.id);
  const leased = leases.reduce((sum, lease) => sum + lease.unfinished, 0);
  const removed = Number(connection.one("select count(*) from waybill_removed where grp = ?", group.id)![0]);
  const fresh = freshOf(connection, group.id).reduce((sum, one) => sum + one.next - one.cursor, 0) - removed;
  const parked = connection.one("select count(*), count(owner) from waybill_parked where grp = ?", group.id)!.map(Number) as [
    number,
    number,
  ];
  const inHand = new Map<string, number>();
  const count = (owner: number, sub: number, messages: number): void => {
    const id = `${owners(owner)}/${sub}`;
    inHand.set(id, (inHand.get(id) ?? 0) + messages);
  };
  for (const row of connection.all("select owner, sub from waybill_consumers where grp = ?", group.id))
    count(Number(row[0]), Number(row[1]), 0);
  for (const lease of leases) count(lease.owner, lease.sub, lease.unfinished);
  for (const row of connection.all(
    "select owner, sub, count(*) from waybill_parked where grp = ? and owner is not null group by 1, 2",
    group.id,
  )) {
    count(Number(row[0]), Number(row[1]), Number(row[2]));
  }
  const oldest = unsettledSeqs(connection, group.id, -1, 1)[0];
  const record = oldest === undefined ? undefined : connection.one("select record from waybill_messages where seq = ?", oldest)?.[0];
  return {
    depth: leased + parked[0] + fresh,
    inFlight: leased + parked[1],
    lagMessages: fresh + parked[0] - parked[1],
    oldestAgeMs: record instanceof Uint8Array ? Math.max(0, Date.now() - timeOf(record)) : 0,
    consumers: [...inHand].map(([id, inFlight]) => ({ id, inFlight })),
  };
}

export function browseGroup(
  connection: Connection,
  catalog: Catalog,
  topic: string,
  name: string,
  after: number,
  limit: number,
): Browsed[] {
  const group = catalog.group(topic, name);
  if (group === undefined) return [];
  const found: Browsed[] = [];
  let last = after;
  while (found.length < limit) {
    const seqs = unsettledSeqs(connection, group.id, last, limit - found.length);
    if (seqs.length === 0) break;
    for (const seq of seqs) {
      last = seq;
      const one = readSingle(connection, catalog.stream, seq);
      if (!("record" in one)) continue;
      const bytes = Buffer.from(one.record.buffer, one.record.byteOffset, one.record.length);
      found.push({ message: readRecord(bytes, 0, bytes.length, topic, one.stream.group, one.stream.priority), position: seq });
    }
  }
  return found;
}

/** In a write transaction: settles what is still there and in nobody's hands or in somebody's; answers how many. */
export function removeFrom(
  connection: Connection,
  catalog: Catalog,
  topic: string,
  name: string,
  positions: readonly number[],
  now: number,
): number {
  const group = catalog.group(topic, name);
  if (group === undefined) return 0;
  let removed = 0;
  for (const seq of positions) if (removeOne(connection, catalog, group, seq, now)) removed++;
  return removed;
}

function removeOne(connection: Connection, catalog: Catalog, group: Group, seq: number, now: number): boolean {
  const parked = connection.one("select key from waybill_parked where grp = ? and seq = ?", group.id, seq);
  if (parked !== undefined) {
    forgetParked(connection, group.id, seq);
    if (parked[0] !== null) wakeFollowers(connection, group.id, String(parked[0]), now);
    return true;
  }
  const row = connection.one("select stream, offset from waybill_messages where seq = ?", seq);
  if (row === undefined) return false;
  const stream: Stream = catalog.stream(Number(row[0]));
  const offset = Number(row[1]);
  if (stream.topicId !== group.topicId || (stream.groupId !== 0 && stream.groupId !== group.id)) return false;
  const lease = leasesOf(connection, group.id).find(
    (one) => one.stream === stream.id && one.first <= offset && one.first + one.count > offset,
  );
  if (lease !== undefined) {
    if (!setBit(lease.done, offset - lease.first)) return false;
    const unfinished = lease.unfinished - 1;
    if (unfinished === 0) connection.run("delete from waybill_leases where id = ?", lease.id);
    else connection.run("update waybill_leases set done = ?, unfinished = ? where id = ?", lease.done, unfinished, lease.id);
    return true;
  }
  const cursor = connection.one("select next from waybill_cursors where grp = ? and stream = ?", group.id, stream.id);
  if (cursor === undefined || offset < Number(cursor[0])) return false;
  // Not fetched yet: the fetch will step over it.
  return connection.run("insert or ignore into waybill_removed (grp, stream, offset) values (?, ?, ?)", group.id, stream.id, offset) === 1;
}

/** In a write transaction. Nothing of the group may be in hand. */
export function seekGroup(connection: Connection, catalog: Catalog, topic: string, name: string, to: StartPosition): void {
  const group = catalog.group(topic, name);
  if (group === undefined) throw failed({ code: "TOPOLOGY", text: `group ${name} does not exist on ${topic}` });
  const busy =
    connection.one("select 1 from waybill_consumers where grp = ? limit 1", group.id) ??
    connection.one("select 1 from waybill_leases where grp = ? limit 1", group.id) ??
    connection.one("select 1 from waybill_parked where grp = ? and owner is not null limit 1", group.id);
  if (busy !== undefined) throw failed({ code: "BUSY", text: `group ${name} on ${topic} has members` });
  connection.run("delete from waybill_parked where grp = ?", group.id);
  connection.run("delete from waybill_notes where grp = ?", group.id);
  connection.run("delete from waybill_removed where grp = ?", group.id);
  for (const row of connection.all("select id, next from waybill_streams where topic = ? and grp in (0, ?)", group.topicId, group.id)) {
    connection.run(
      "insert or replace into waybill_cursors (grp, stream, next) values (?, ?, ?)",
      group.id,
      row[0]!,
      startOffset(connection, Number(row[0]), Number(row[1]), to),
    );
  }
}
