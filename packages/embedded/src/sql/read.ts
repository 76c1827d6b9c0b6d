import type { Stream } from "./catalog.ts";
import { type Connection, type Row, troubleOf } from "./connection.ts";
import { isSound } from "./record.ts";
import { stretchesOf } from "./runs.ts";

export interface Stored {
  readonly seq: number;
  readonly offset: number;
  readonly record: Uint8Array;
}
/** A message that is there no more, or not as it was written. */
export interface Unsound {
  readonly seq: number | undefined;
  readonly offset: number;
  readonly reason: "checksum" | "missing" | "page";
}

export interface ReadOut {
  readonly stored: Stored[];
  readonly unsound: Unsound[];
}

/** A stretch of a stream, each record checked. A row that is wrong is never in `stored`. */
export function readStretch(connection: Connection, stream: Stream, first: number, count: number): ReadOut {
  const stored: Stored[] = [];
  const unsound: Unsound[] = [];
  let expected = first;
  for (const stretch of stretchesOf(connection, stream.id, first, count)) {
    for (; expected < stretch.first; expected++) unsound.push({ seq: undefined, offset: expected, reason: "missing" });
    readRows(connection, stream, stretch.first, stretch.seq, stretch.count, stored, unsound);
    expected = stretch.first + stretch.count;
  }
  for (; expected < first + count; expected++) unsound.push({ seq: undefined, offset: expected, reason: "missing" });
  return { stored, unsound };
}

function readRows(
  connection: Connection,
  stream: Stream,
  first: number,
  seq: number,
  count: number,
  stored: Stored[],
  unsound: Unsound[],
): void {
  let rows: Row[];
  try {
    if (readTogether(connection, stream, first, seq, count, stored, unsound)) return;
    rows = connection.all("select seq, record from waybill_messages where seq between ? and ?", seq, seq + count - 1);
  } catch (error) {
    if (troubleOf(error) !== "corrupt") throw error;
    // A broken page takes some rows with it: one by one the others can be had.
    for (let i = 0; i < count; i++) readRow(connection, stream, seq + i, first + i, stored, unsound);
    return;
  }
  let at = 0;
  for (let i = 0; i < count; i++) {
    const row = rows[at];
    const offset = first + i;
    if (row === undefined || Number(row[0]) !== seq + i) {
      unsound.push({ seq: seq + i, offset, reason: "missing" });
      continue;
    }
    at++;
    const record = row[1];
    if (record instanceof Uint8Array && isSound(record, stream.seed, seq + i, offset)) stored.push({ seq: seq + i, offset, record });
    else unsound.push({ seq: seq + i, offset, reason: "checksum" });
  }
}

/**
 * All records as one blob and their lengths as one text: a value out of SQLite costs more than the bytes in it, this a fifth
 * of a row each. False where a row is missing or is no blob; nothing is added then.
 */
function readTogether(
  connection: Connection,
  stream: Stream,
  first: number,
  seq: number,
  count: number,
  stored: Stored[],
  unsound: Unsound[],
): boolean {
  const row = connection.one(
    `select cast(group_concat(record, '') as blob), group_concat(length(record)) from
     (select record from waybill_messages where seq between ? and ? and typeof(record) = 'blob' order by seq)`,
    seq,
    seq + count - 1,
  );
  if (!(row?.[0] instanceof Uint8Array)) return false;
  const [all] = row;
  const lengths = JSON.parse(`[${String(row[1])}]`) as number[];
  if (lengths.length !== count) return false;
  for (let i = 0, at = 0; i < count; i++) {
    const record = all.subarray(at, (at += lengths[i]!));
    const offset = first + i;
    if (isSound(record, stream.seed, seq + i, offset)) stored.push({ seq: seq + i, offset, record });
    else unsound.push({ seq: seq + i, offset, reason: "checksum" });
  }
  return true;
}

function readRow(connection: Connection, stream: Stream, seq: number, offset: number, stored: Stored[], unsound: Unsound[]): void {
  try {
    const record = connection.one("select record from waybill_messages where seq = ?", seq)?.[0];
    if (record === undefined) unsound.push({ seq, offset, reason: "missing" });
    else if (record instanceof Uint8Array && isSound(record, stream.seed, seq, offset)) stored.push({ seq, offset, record });
    else unsound.push({ seq, offset, reason: "checksum" });
  } catch (error) {
    if (troubleOf(error) !== "corrupt") throw error;
    unsound.push({ seq, offset, reason: "page" });
  }
}

/** A single message by its position; what it lacks to be sound is told as in `readStretch`. `streamOf` names the stream by its id. */
export function readSingle(
  connection: Connection,
  streamOf: (id: number) => Stream,
  seq: number,
): (Stored & { readonly stream: Stream }) | Unsound {
  try {
    const row = connection.one("select stream, offset, record from waybill_messages where seq = ?", seq);
    if (row === undefined) return { seq, offset: -1, reason: "missing" };
    const offset = Number(row[1]);
    const [stretch] = stretchesOf(connection, Number(row[0]), offset, 1);
    if (stretch?.seq !== seq) return { seq, offset, reason: "checksum" };
    const stream = streamOf(Number(row[0]));
    const record = row[2];
    if (!(record instanceof Uint8Array) || !isSound(record, stream.seed, seq, offset)) return { seq, offset, reason: "checksum" };
    return { seq, offset, record, stream };
  } catch (error) {
    if (troubleOf(error) !== "corrupt") throw error;
    return { seq, offset: -1, reason: "page" };
  }
}

/** In a write transaction: the row stays for salvage, and is told by `inspect` and `diagnostics`. */
export function quarantine(connection: Connection, stream: number, unsound: readonly Unsound[], now: number): void {
  for (const one of unsound) {
    if (one.seq === undefined) continue;
    connection.run("insert or ignore into waybill_quarantine values (?, ?, ?, ?, ?)", one.seq, stream, one.offset, one.reason, now);
  }
}
