import { hasBit } from "../sql/bits.ts";
import type { Stream } from "../sql/catalog.ts";
import { monotonicMs } from "../sql/clock.ts";
import type { Grab } from "../sql/lease.ts";
import { readSingle, readStretch, type Stored, type Unsound } from "../sql/read.ts";
import { type Deliver, deliverStride } from "./protocol.ts";
import type { Session } from "./session.ts";

interface Item extends Stored {
  readonly stream: Stream;
  readonly index: number;
  readonly attempt: number;
  readonly note: string | undefined;
}

export interface Delivered {
  readonly message: Deliver | undefined;
  /** Never to be served: its place in the grab, and what is wrong. */
  readonly unsound: readonly (Unsound & { readonly index: number; readonly stream: number })[];
}

/** Reads what a grab took, after its commit. */
export function readGrab(session: Session, grab: Grab, sub: number): Delivered {
  const items: Item[] = [];
  const unsound: (Unsound & { index: number; stream: number })[] = [];
  if (grab.kind === "range") {
    const stream = session.catalog.stream(grab.stream);
    const out = readStretch(session.connection, stream, grab.first, grab.count);
    for (const one of out.stored) {
      const index = one.offset - grab.first;
      if (grab.skip !== undefined && hasBit(grab.skip, index)) continue;
      items.push({ seq: one.seq, offset: one.offset, record: one.record, stream, index, attempt: 1, note: undefined });
    }
    for (const one of out.unsound) {
      const index = one.offset - grab.first;
      if (grab.skip !== undefined && hasBit(grab.skip, index)) continue;
      unsound.push({ ...one, index, stream: grab.stream });
    }
  } else {
    for (const pick of grab.picks) {
      const one = readSingle(session.connection, session.catalog.stream, pick.seq);
      if ("record" in one) {
        items.push({
          seq: one.seq,
          offset: one.offset,
          record: one.record,
          stream: one.stream,
          index: -1,
          attempt: pick.attempt,
          note: pick.note,
        });
      } else unsound.push({ ...one, index: -1, stream: 0 });
    }
  }
  const expiresMonotonic = monotonicMs() + grab.expires - session.clock.now();
  return { message: packDeliveries(items, sub, grab.group.id, grab.group.topic, grab.lease, expiresMonotonic), unsound };
}

export function packRead(items: readonly (Stored & { readonly stream: Stream })[], sub: number): Deliver | undefined {
  return packDeliveries(
    items.map((one) => ({ ...one, index: -1, attempt: 1, note: undefined })),
    sub,
    0,
    "",
    0,
    0,
  );
}

function packDeliveries(
  items: readonly Item[],
  sub: number,
  group: number,
  topic: string,
  lease: number,
  expiresMonotonic: number,
): Deliver | undefined {
  if (items.length === 0) return undefined;
  let bytes = 0;
  for (let i = 0; i < items.length; i++) bytes += items[i]!.record.length;
  const together = togetherIn(items, bytes);
  const data = together ?? Buffer.allocUnsafeSlow(bytes);
  const meta = new Float64Array(items.length * deliverStride);
  const notes: [number, string][] = [];
  const streams: Stream[] = [];
  let entry = -1;
  let end = 0;
  for (let i = 0, at = 0; i < items.length; i++) {
    const item = items[i]!;
    if (entry < 0 || streams[entry] !== item.stream) {
      entry = streams.indexOf(item.stream);
      if (entry < 0) entry = streams.push(item.stream) - 1;
    }
    if (together === undefined) data.set(item.record, end);
    end += item.record.length;
    meta[at++] = end;
    meta[at++] = item.seq;
    meta[at++] = item.index;
    meta[at++] = item.attempt;
    meta[at++] = entry;
    if (item.note !== undefined) notes.push([i, item.note]);
  }
  return {
    t: "deliver",
    sub,
    group,
    topic,
    lease,
    expiresMonotonic,
    streams: streams.map((stream) => ({ group: stream.group, priority: stream.priority, topic: stream.topic })),
    data: data.buffer,
    meta: meta.buffer,
    notes,
    bytes,
  };
}

/** The one buffer whose whole content these records are, as they were read; there is nothing to copy then. */
function togetherIn(items: readonly Item[], bytes: number): Uint8Array<ArrayBuffer> | undefined {
  const { buffer } = items[0]!.record;
  if (buffer.byteLength !== bytes || !(buffer instanceof ArrayBuffer)) return undefined;
  for (let i = 0, at = 0; i < items.length; i++) {
    const { record } = items[i]!;
    if (record.buffer !== buffer || record.byteOffset !== at) return undefined;
    at += record.length;
  }
  return new Uint8Array(buffer);
}
