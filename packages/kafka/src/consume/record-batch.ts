import { WaybillError } from "@waybill/core";
import { decompressBatch } from "./decompress.ts";

/** Bytes as they came; `text` reads them when somebody asks. */
export interface LogRecord {
  readonly offset: number;
  readonly time: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  /** Names and values in turn. */
  readonly headers: readonly (Uint8Array | null)[];
}

/** A batch as the broker sends it, its records still packed. */
export interface RecordBatch {
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly count: number;
  readonly codec: number;
  readonly isTransactional: boolean;
  readonly isControl: boolean;
  readonly producerId: bigint;
  readonly firstTime: number;
  /** Set where the broker keeps its own time for all of the batch. */
  readonly appendTime: number | undefined;
  readonly packed: Uint8Array;
  readonly bytes: number;
}

const headerBytes = 61;
const lengthAt = 8;
const beforeLength = 12;

/** Whole batches; what is cut off at the end comes with the next fetch. https://kafka.apache.org/documentation/#recordbatch */
export function readBatches(buffer: Buffer): readonly RecordBatch[] {
  const batches: RecordBatch[] = [];
  let at = 0;
  while (buffer.length - at >= headerBytes) {
    const size = beforeLength + buffer.readInt32BE(at + lengthAt);
    if (size < headerBytes) throw corrupt("a length that cannot be");
    if (buffer.length - at < size) break;
    batches.push(readBatch(buffer.subarray(at, at + size)));
    at += size;
  }
  return batches;
}

function readBatch(batch: Buffer): RecordBatch {
  const magic = batch.readInt8(16);
  if (magic !== 2) throw corrupt(`format ${magic}, written before Kafka 0.11`);
  const attributes = batch.readInt16BE(21);
  const baseOffset = Number(batch.readBigInt64BE(0));
  const count = batch.readInt32BE(57);
  if (count < 0 || count > batch.length * 1_000) throw corrupt("a count of records that cannot be");
  return {
    baseOffset,
    lastOffset: baseOffset + batch.readInt32BE(23),
    count,
    codec: attributes & 7,
    isTransactional: (attributes & 16) !== 0,
    isControl: (attributes & 32) !== 0,
    firstTime: Number(batch.readBigInt64BE(27)),
    appendTime: (attributes & 8) === 0 ? undefined : Number(batch.readBigInt64BE(35)),
    producerId: batch.readBigInt64BE(43),
    packed: batch.subarray(headerBytes),
    bytes: batch.length,
  };
}

/** Unpacks its records. Throws `TOO_LARGE` above `maxBytes`, `CORRUPT` for what cannot be read. */
export function readRecords(batch: RecordBatch, maxBytes: number): readonly LogRecord[] {
  const plain = decompressBatch(batch.codec, batch.packed, maxBytes);
  const records: LogRecord[] = [];
  const cursor = { at: 0 };
  for (let index = 0; index < batch.count; index += 1) {
    const length = readVarint(plain, cursor);
    const end = cursor.at + length;
    if (length < 0 || end > plain.length) throw corrupt("a record beyond its batch");
    cursor.at += 1;
    const timeDelta = readVarlong(plain, cursor);
    const offset = batch.baseOffset + readVarint(plain, cursor);
    const key = readBytes(plain, cursor);
    const value = readBytes(plain, cursor);
    const count = readVarint(plain, cursor);
    if (count < 0 || count > length) throw corrupt("a count of headers that cannot be");
    const headers: (Uint8Array | null)[] = [];
    for (let header = 0; header < count; header += 1) headers.push(readBytes(plain, cursor), readBytes(plain, cursor));
    if (cursor.at > end) throw corrupt("a field beyond its record");
    cursor.at = end;
    records.push({ offset, time: batch.appendTime ?? batch.firstTime + timeDelta, key, value, headers });
  }
  return records;
}

interface Cursor {
  at: number;
}

function readBytes(plain: Uint8Array, cursor: Cursor): Uint8Array | null {
  const length = readVarint(plain, cursor);
  if (length < 0) return null;
  const end = cursor.at + length;
  if (end > plain.length) throw corrupt("a field beyond its batch");
  const bytes = plain.subarray(cursor.at, end);
  cursor.at = end;
  return bytes;
}

/** Zigzag, up to 32 bits. */
function readVarint(plain: Uint8Array, cursor: Cursor): number {
  let value = 0;
  for (let shift = 0; shift < 35; shift += 7) {
    const byte = plain[cursor.at];
    if (byte === undefined) throw corrupt("cut off");
    cursor.at += 1;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return (value >>> 1) ^ -(value & 1);
  }
  throw corrupt("a number without an end");
}

/** Zigzag, up to 64 bits; times fit a double. */
function readVarlong(plain: Uint8Array, cursor: Cursor): number {
  let value = 0;
  let scale = 1;
  for (let count = 0; count < 10; count += 1) {
    const byte = plain[cursor.at];
    if (byte === undefined) throw corrupt("cut off");
    cursor.at += 1;
    value += (byte & 0x7f) * scale;
    scale *= 128;
    if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }
  throw corrupt("a number without an end");
}

function corrupt(what: string): WaybillError {
  return new WaybillError("CORRUPT", `a record batch: ${what}`);
}
