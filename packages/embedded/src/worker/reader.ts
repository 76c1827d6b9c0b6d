import { matcher } from "../sql/pattern.ts";
import type { Stream } from "../sql/catalog.ts";
import { readStretch, type Stored, type Unsound } from "../sql/read.ts";
import { oldestOffset, startOffset } from "../sql/start.ts";
import { stretchesOf } from "../sql/runs.ts";
import type { StartPosition } from "@waybill/core";
import { packRead } from "./deliver.ts";
import type { Deliver } from "./protocol.ts";
import type { Session } from "./session.ts";
import { type ReaderSub, roomOf } from "./state.ts";

const maxRead = 500;
/** Delayed messages that a reader remembers; with more it reads no further until one is due. */
const maxDelayed = 100_000;

/** Streams a reader reads: those of all groups. */
function streamsOf(session: Session, sub: ReaderSub): { readonly id: number; readonly next: number }[] {
  const { connection } = session;
  if (sub.topic !== undefined) {
    const topic = session.catalog.topic(sub.topic);
    if (topic === undefined) return [];
    return connection
      .all("select id, next from waybill_streams where topic = ? and grp = 0", topic)
      .map((row) => ({ id: Number(row[0]), next: Number(row[1]) }));
  }
  const matches = matcher(sub.pattern!);
  return connection
    .all("select s.id, s.next, t.name from waybill_streams s join waybill_topics t on t.id = s.topic where s.grp = 0")
    .filter((row) => matches(String(row[2])))
    .map((row) => ({ id: Number(row[0]), next: Number(row[1]) }));
}

export function startReader(session: Session, sub: ReaderSub, from: StartPosition): void {
  for (const { id, next } of streamsOf(session, sub)) sub.next.set(id, startOffset(session.connection, id, next, from));
}

export interface ReaderOut {
  readonly deliver: Deliver | undefined;
  readonly gap: number;
  readonly unsound: readonly (Unsound & { readonly stream: number })[];
}

/** The next messages for a reader, oldest first over all its streams. */
export function readOn(session: Session, sub: ReaderSub): ReaderOut {
  const room = roomOf(sub);
  const unsound: (Unsound & { stream: number })[] = [];
  let gap = 0;
  const items: (Stored & { readonly stream: Stream })[] = [];
  const now = session.clock.now();
  const limit = Math.min(room.messages, maxRead);
  while (sub.delayed.length > 0 && sub.delayed[0]!.due <= now && items.length < limit) {
    const { stream: id, offset } = sub.delayed.shift()!;
    const out = readStretch(session.connection, session.catalog.stream(id), offset, 1);
    for (const one of out.stored) items.push({ ...one, stream: session.catalog.stream(id) });
    for (const one of out.unsound) unsound.push({ ...one, stream: id });
  }
  const streams = streamsOf(session, sub);
  let bytes = items.reduce((sum, item) => sum + item.record.length, 0);
  while (items.length < limit && bytes < room.bytes && sub.delayed.length < maxDelayed) {
    const piece = nextPiece(session, sub, streams, limit - items.length);
    if (piece === undefined) break;
    gap += piece.gap;
    if (piece.count === 0) continue;
    const stream = session.catalog.stream(piece.stream);
    const out = readStretch(session.connection, stream, piece.first, piece.count);
    const timed = timesOf(session, piece.stream, piece.first, piece.count);
    let next = piece.first + piece.count;
    for (const one of out.stored) {
      const times = timed.get(one.seq);
      if (times?.expires !== undefined && times.expires <= now) continue;
      if (times?.due !== undefined && times.due > now) {
        delay(sub, { stream: piece.stream, offset: one.offset, due: times.due });
        continue;
      }
      if (bytes + one.record.length > room.bytes && !(room.empty && items.length === 0)) {
        next = one.offset;
        bytes = room.bytes;
        break;
      }
      bytes += one.record.length;
      items.push({ ...one, stream });
    }
    for (const one of out.unsound) if (one.offset < next) unsound.push({ ...one, stream: piece.stream });
    sub.next.set(piece.stream, next);
  }
  sub.given += items.length;
  sub.givenBytes += items.reduce((sum, item) => sum + item.record.length, 0);
  if (items.length > 0) sub.empty = false;
  sub.dueAt = sub.delayed[0]?.due ?? Number.POSITIVE_INFINITY;
  sub.dirty = items.length >= limit && limit > 0;
  return { deliver: packRead(items, sub.id), gap, unsound };
}

function delay(sub: ReaderSub, one: { stream: number; offset: number; due: number }): void {
  let at = sub.delayed.length;
  while (at > 0 && sub.delayed[at - 1]!.due > one.due) at--;
  sub.delayed.splice(at, 0, one);
}

/** The stretch to read next: of the stream whose next message is the oldest, up to where another stream's begins. */
function nextPiece(
  session: Session,
  sub: ReaderSub,
  streams: readonly { readonly id: number; readonly next: number }[],
  limit: number,
): { readonly stream: number; readonly first: number; readonly count: number; readonly gap: number } | undefined {
  let best: { stream: number; first: number; seq: number; count: number; gap: number } | undefined;
  let second = Number.POSITIVE_INFINITY;
  for (const { id, next } of streams) {
    const from = sub.next.get(id) ?? 0;
    if (from >= next) continue;
    const stretch = stretchesOf(session.connection, id, from, Math.min(limit, next - from))[0];
    if (stretch === undefined || stretch.first > from) {
      // Retention was faster than the reader.
      const first = stretch?.first ?? Math.max(from, oldestOffset(session.connection, id, next));
      if (first > from) {
        sub.next.set(id, first);
        return { stream: id, first, count: 0, gap: first - from };
      }
    }
    if (stretch === undefined) continue;
    if (best === undefined || stretch.seq < best.seq) {
      if (best !== undefined) second = Math.min(second, best.seq);
      best = { stream: id, first: stretch.first, seq: stretch.seq, count: stretch.count, gap: 0 };
    } else second = Math.min(second, stretch.seq);
  }
  if (best === undefined) return undefined;
  return { ...best, count: Math.min(best.count, second - best.seq) };
}

function timesOf(
  session: Session,
  stream: number,
  first: number,
  count: number,
): ReadonlyMap<number, { readonly due: number | undefined; readonly expires: number | undefined }> {
  const found = new Map<number, { due: number | undefined; expires: number | undefined }>();
  const stretches = stretchesOf(session.connection, stream, first, count);
  for (const one of stretches) {
    for (const row of session.connection.all(
      "select seq, due, expires from waybill_timed where seq between ? and ?",
      one.seq,
      one.seq + one.count - 1,
    )) {
      found.set(Number(row[0]), {
        due: row[1] === null ? undefined : Number(row[1]),
        expires: row[2] === null ? undefined : Number(row[2]),
      });
    }
  }
  return found;
}
