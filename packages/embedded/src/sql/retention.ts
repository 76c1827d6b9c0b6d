import type { Catalog } from "./catalog.ts";
import type { Connection } from "./connection.ts";
import { closeRun } from "./runs.ts";

/** Rows deleted in one transaction at most, so that nobody waits long for the lock. */
const maxDeleted = 2000;

/**
 * In a write transaction. Deletes whole runs that are older than `keepMs` and that no group needs any more; answers whether
 * there may be more of them. `at` of the stored run is store time.
 */
export function deleteOld(connection: Connection, now: number, keepMs: number): boolean {
  let left = maxDeleted;
  for (const row of connection.all("select id from waybill_streams where id > 0")) {
    const stream = Number(row[0]);
    const read = readByAll(connection, stream);
    if (isOld(connection, stream, read, now - keepMs)) closeRun(connection, stream);
    const runs = connection.all(
      "select first, seq, count from waybill_runs where stream = ? and first + count <= ? and stored < ? order by first limit 1000",
      stream,
      read,
      now - keepMs,
    );
    for (const run of runs) {
      const [first, seq, count] = run.map(Number) as [number, number, number];
      if (isNeeded(connection, stream, first, seq, count)) continue;
      deleteRun(connection, stream, first, seq, count);
      left -= count;
      if (left <= 0) return true;
    }
  }
  return false;
}

/** The run that still grows could be deleted as it is. */
function isOld(connection: Connection, stream: number, read: number, before: number): boolean {
  const old = "select 1 from waybill_streams where id = ? and run_first < next and next <= ? and run_stored < ?";
  return connection.one(old, stream, read, before) !== undefined;
}

/** The first offset that some group has still to fetch. */
function readByAll(connection: Connection, stream: number): number {
  const row = connection.one("select min(next) from waybill_cursors where stream = ?", stream);
  return row === undefined || row[0] === null ? Number.MAX_SAFE_INTEGER : Number(row[0]);
}

/** Something of the run is in hand, or waits by itself. */
function isNeeded(connection: Connection, stream: number, first: number, seq: number, count: number): boolean {
  const parked = connection.one("select 1 from waybill_parked where seq between ? and ? limit 1", seq, seq + count - 1);
  if (parked !== undefined) return true;
  const lease = connection.one(
    "select 1 from waybill_leases where stream = ? and first < ? and first + count > ? limit 1",
    stream,
    first + count,
    first,
  );
  return lease !== undefined;
}

function deleteRun(connection: Connection, stream: number, first: number, seq: number, count: number): void {
  connection.run("delete from waybill_messages where seq between ? and ?", seq, seq + count - 1);
  connection.run("delete from waybill_timed where seq between ? and ?", seq, seq + count - 1);
  connection.run("delete from waybill_runs where stream = ? and first = ?", stream, first);
}

/** In a write transaction: what an inbox had, and its address. */
export function removeInbox(connection: Connection, catalog: Catalog, topic: string): void {
  connection.run("delete from waybill_inboxes where topic = ?", topic);
  const id = catalog.topic(topic);
  if (id === undefined) return;
  for (const row of connection.all("select id from waybill_streams where topic = ?", id)) {
    closeRun(connection, Number(row[0]));
    for (const run of connection.all("select first, seq, count from waybill_runs where stream = ?", row[0]!)) {
      deleteRun(connection, Number(row[0]), Number(run[0]), Number(run[1]), Number(run[2]));
    }
    connection.run("delete from waybill_streams where id = ?", row[0]!);
  }
  connection.run("delete from waybill_topics where id = ?", id);
  catalog.forget();
}

/** In a write transaction: replies that were handed out. */
export function deleteRead(connection: Connection, stream: number, before: number): void {
  if (isOld(connection, stream, before, Number.MAX_VALUE)) closeRun(connection, stream);
  for (const run of connection.all("select first, seq, count from waybill_runs where stream = ? and first + count <= ?", stream, before)) {
    deleteRun(connection, stream, Number(run[0]), Number(run[1]), Number(run[2]));
  }
}
