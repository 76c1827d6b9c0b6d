import type { Delivery } from "@waybill/core";
import { readRecord } from "./sql/record.ts";
import { type Deliver, deliverStride } from "./worker/protocol.ts";

/** What the worker handed over in one piece: messages of one lease (0: a reader's, which are never settled). */
export interface Batch {
  readonly lease: number;
  readonly group: number;
  readonly count: number;
  readonly meta: Float64Array;
  readonly settled: Uint8Array;
  /** Not settled yet. */
  left: number;
  /** On `performance.now()`. */
  readonly until: number;
  /** By message, where its lease was extended. */
  extended: Float64Array | undefined;
  readonly source: Deliver;
  readonly data: Buffer;
  readonly notes: ReadonlyMap<number, string>;
  /** How many were unpacked. */
  unpacked: number;
}

/** Its handle is the batch, `at` its place in it. */
export interface OwnDelivery extends Delivery {
  readonly handle: Batch;
  readonly at: number;
}

export function toBatch(source: Deliver, monotonicNow: number): Batch {
  const meta = new Float64Array(source.meta);
  const count = meta.length / deliverStride;
  return {
    lease: source.lease,
    group: source.group,
    count,
    meta,
    settled: new Uint8Array(count),
    left: count,
    until: source.lease === 0 ? Number.POSITIVE_INFINITY : performance.now() + source.expiresMonotonic - monotonicNow,
    extended: undefined,
    source,
    data: Buffer.from(source.data),
    notes: new Map(source.notes),
    unpacked: 0,
  };
}

/** The next messages of the batch, at most `limit`. Bodies are views of the batch's buffer. */
export function unpack(batch: Batch, limit: number): OwnDelivery[] {
  const { meta, data, source } = batch;
  const end = Math.min(batch.count, batch.unpacked + limit);
  const deliveries: OwnDelivery[] = [];
  const leased = batch.lease !== 0;
  const leaseMs = leased ? Math.max(0, batch.until - performance.now()) : undefined;
  for (let i = batch.unpacked; i < end; i++) {
    if (batch.settled[i] === 1) continue;
    const at = i * deliverStride;
    const start = i === 0 ? 0 : meta[at - deliverStride]!;
    const stream = source.streams[meta[at + 4]!]!;
    deliveries.push({
      message: readRecord(data, start, meta[at]!, stream.topic, stream.group, stream.priority),
      attempt: meta[at + 3]!,
      position: meta[at + 1]!,
      part: "",
      generation: batch.lease,
      leaseMs,
      note: batch.notes.size === 0 ? undefined : batch.notes.get(i),
      takenOver: false,
      handle: batch,
      at: i,
    });
  }
  batch.unpacked = end;
  return deliveries;
}

/** Bytes of the record at that place. */
export function bytesAt(batch: Batch, at: number): number {
  const end = batch.meta[at * deliverStride]!;
  return at === 0 ? end : end - batch.meta[(at - 1) * deliverStride]!;
}
