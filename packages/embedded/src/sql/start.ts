import type { StartPosition } from "@waybill/core";
import type { Connection } from "./connection.ts";
import { failed } from "./failure.ts";
import { timeOf } from "./record.ts";
import { openRunOf, runBefore, runSince } from "./runs.ts";

/** The first offset of the stream that a group or reader starting at `from` sees. */
export function startOffset(connection: Connection, stream: number, next: number, from: StartPosition): number {
  if (from === "latest") return next;
  if (from === "earliest") return oldestOffset(connection, stream, next);
  if ("time" in from) return offsetAtTime(connection, stream, next, from.time);
  return offsetAtPosition(connection, stream, next, from.position);
}

export function oldestOffset(connection: Connection, stream: number, next: number): number {
  const row = connection.one("select min(first) from waybill_runs where stream = ?", stream);
  if (row !== undefined && row[0] !== null) return Number(row[0]);
  return openRunOf(connection, stream)?.first ?? next;
}

function offsetAtTime(connection: Connection, stream: number, next: number, time: number): number {
  const run = runSince(connection, stream, time);
  if (run === undefined) return next;
  const { first, seq, count } = run;
  for (let i = 0; i < count; i++) {
    const row = connection.one("select record from waybill_messages where seq = ?", seq + i);
    if (row !== undefined && timeOf(row[0] as Uint8Array) >= time) return first + i;
  }
  return first + count;
}

/** A position is the message's `seq`: it goes up over all topics. The message itself may be gone: then the next one. */
function offsetAtPosition(connection: Connection, stream: number, next: number, position: unknown): number {
  if (typeof position !== "number" || !Number.isSafeInteger(position) || position < 0) {
    throw failed({ code: "CONFIG", text: "from.position: expected a position of this transport, a whole number" });
  }
  const run = runBefore(connection, stream, position);
  if (run === undefined) return oldestOffset(connection, stream, next);
  return run.first + Math.min(position - run.seq, run.count);
}
