import type { Catalog } from "./catalog.ts";
import type { StoreClock } from "./clock.ts";
import type { Connection } from "./connection.ts";
import { append } from "./append.ts";
import { contentSum, readRecord, recordBound, writeRecord } from "./record.ts";

/** The one group of dead-letter topics; the core's `deadLetterGroup` (a test holds the two together). */
export const deadLetterGroupName = "dead-letters";

export interface DeadLettering {
  readonly connection: Connection;
  readonly catalog: Catalog;
  readonly clock: StoreClock;
}

/** In a write transaction: stores a copy of the message for the dead-letter group of that topic, its headers added to. */
export function deadLetterInto(on: DeadLettering, seq: number, topic: string, headers: Readonly<Record<string, string>>): void {
  const row = on.connection.one("select record from waybill_messages where seq = ?", seq);
  if (row === undefined) return;
  const stored = row[0] as Uint8Array;
  const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.length);
  const message = readRecord(bytes, 0, bytes.length, topic, undefined, 0);
  const copy = {
    ...message,
    headers: Object.assign(Object.create(null) as Record<string, string>, message.headers, headers),
    // What it had to wait for or should have been in time for is over.
    deliverAt: undefined,
    expiresAt: undefined,
    priority: undefined,
    mandatory: false,
  };
  const body = message.body as Uint8Array | null;
  const record = Buffer.allocUnsafe(recordBound(copy, body?.length ?? 0));
  const end = writeRecord(record, 0, copy, body);
  append(
    { ...on, repeats: undefined },
    {
      targets: [{ topic, group: deadLetterGroupName, priority: 0, mandatory: false, replies: false }],
      data: record,
      index: Int32Array.of(0, 0, end, contentSum(record.subarray(0, end)), 0, 0),
      timed: new Map(),
      newestTime: message.time,
    },
  );
}
