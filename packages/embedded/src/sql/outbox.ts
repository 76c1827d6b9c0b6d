import type { Message, OutboxRow } from "@waybill/core";
import type { Connection } from "./connection.ts";
import { readRecord, recordBound, writeRecord } from "./record.ts";

/** What a record does not hold: its place. */
interface Place {
  readonly topic: string;
  readonly group: string | undefined;
  readonly priority: number | undefined;
  readonly native: unknown;
}

/** In a write transaction. */
export function enqueueRows(connection: Connection, messages: readonly Message[], now: number): void {
  for (const message of messages) {
    const body = message.body as Uint8Array | null;
    const place = Buffer.from(
      JSON.stringify({ topic: message.topic, group: message.group, priority: message.priority, native: message.native } satisfies Place),
    );
    const record = Buffer.allocUnsafe(4 + place.length + recordBound(message, body?.length ?? 0));
    record.writeUInt32LE(place.length, 0);
    record.set(place, 4);
    const end = writeRecord(record, 4 + place.length, message, body);
    connection.run("insert into waybill_outbox (key, record, at) values (?, ?, ?)", orderOf(message), record.subarray(0, end), now);
  }
}

/** Rows of one topic and key are sent in their order. */
function orderOf(message: Message): string | null {
  return message.key === undefined ? null : `${message.topic}\0${message.key}`;
}

/** A relay by its member, so that what it held is free at once when the member is dead. */
export function holderOfRows(member: number, owner: string): string {
  return `${member}/${owner}`;
}

/** In a write transaction. */
export function freeRowsOf(connection: Connection, member: number): void {
  connection.run("update waybill_outbox set owner = null, until = null where owner glob ?", holderOfRows(member, "*"));
}

/** In a write transaction. The oldest rows that nobody holds, without those behind a row of their key that somebody else holds. */
export function takeRows(connection: Connection, owner: string, limit: number, leaseMs: number, now: number): OutboxRow[] {
  const rows = connection.all(
    `select o.row, o.record from waybill_outbox o where (o.until is null or o.until <= ?) and not exists (
       select 1 from waybill_outbox e where o.key is not null and e.key = o.key and e.row < o.row and e.until > ? and e.owner <> ?)
     order by o.row limit ?`,
    now,
    now,
    owner,
    limit,
  );
  return rows.map((row) => {
    const id = Number(row[0]);
    connection.run("update waybill_outbox set owner = ?, until = ? where row = ?", owner, now + leaseMs, id);
    return { row: id, message: unpack(row[1] as Uint8Array) };
  });
}

function unpack(stored: Uint8Array): Message {
  const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.length);
  const start = 4 + bytes.readUInt32LE(0);
  const place = JSON.parse(bytes.toString("utf8", 4, start)) as Place;
  return { ...readRecord(bytes, start, bytes.length, place.topic, place.group, place.priority ?? 0), native: place.native };
}

export function doneRows(connection: Connection, owner: string, rows: readonly number[]): void {
  for (const row of rows) connection.run("delete from waybill_outbox where row = ? and owner = ?", row, owner);
}

export function releaseRows(connection: Connection, owner: string, rows: readonly number[]): void {
  for (const row of rows) connection.run("update waybill_outbox set owner = null, until = null where row = ? and owner = ?", row, owner);
}

export function backlogOf(connection: Connection): { rows: number; oldestAt: number | undefined } {
  const row = connection.one("select count(*), min(at) from waybill_outbox")!;
  return { rows: Number(row[0]), oldestAt: row[1] === null ? undefined : Number(row[1]) };
}
