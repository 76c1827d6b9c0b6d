import { closeSync, fstatSync, openSync, readSync } from "node:fs";

/** A row of the messages table as it lies on its page, reachable or not. */
export interface PageRow {
  readonly seq: number;
  readonly stream: number;
  readonly offset: number;
  readonly record: Uint8Array;
}

/**
 * Every cell of every table leaf that looks like a message, straight from the pages: rows under a broken inner page can be
 * reached in no other way. Stale copies are among them, so who asks has to check each. (SQLite database file format, 1.6 and 2.1.)
 */
export function* rowsOfPages(path: string): Generator<PageRow, void, undefined> {
  const file = openSync(path, "r");
  try {
    const header = Buffer.alloc(100);
    readSync(file, header, 0, 100, 0);
    const declared = header.readUInt16BE(16);
    const pageBytes = declared === 1 ? 65_536 : declared;
    if (pageBytes < 512 || (pageBytes & (pageBytes - 1)) !== 0) return;
    const usable = pageBytes - header[20]!;
    const pages = Math.floor(fstatSync(file).size / pageBytes);
    const page = Buffer.alloc(pageBytes);
    const read = (number: number, into: Buffer): boolean => {
      if (number < 1 || number > pages) return false;
      return readSync(file, into, 0, pageBytes, (number - 1) * pageBytes) === pageBytes;
    };
    for (let number = 2; number <= pages; number++) {
      if (!read(number, page) || page[0] !== 13) continue;
      yield* rowsOfLeaf(page, usable, pages, read);
    }
  } finally {
    closeSync(file);
  }
}

type ReadPage = (number: number, into: Buffer) => boolean;

function* rowsOfLeaf(page: Buffer, usable: number, pages: number, read: ReadPage): Generator<PageRow, void, undefined> {
  const cells = page.readUInt16BE(3);
  for (let i = 0; i < cells && 8 + i * 2 + 2 <= usable; i++) {
    const at = page.readUInt16BE(8 + i * 2);
    if (at < 8 + cells * 2 || at >= usable) continue;
    const row = rowAt(page, at, usable, pages, read);
    if (row !== undefined) yield row;
  }
}

function rowAt(page: Buffer, start: number, usable: number, pages: number, read: ReadPage): PageRow | undefined {
  const size = varint(page, start);
  const seq = size === undefined ? undefined : varint(page, size.end);
  if (size === undefined || seq === undefined || size.value > 1_000_000_000) return undefined;
  const payload = payloadAt(page, seq.end, size.value, usable, pages, read);
  return payload === undefined ? undefined : columnsOf(payload, seq.value);
}

/** What lies on the page, and what the chain of overflow pages has of it. */
function payloadAt(page: Buffer, at: number, size: number, usable: number, pages: number, read: ReadPage): Buffer | undefined {
  const most = usable - 35;
  if (size <= most) return at + size <= usable ? page.subarray(at, at + size) : undefined;
  const least = Math.floor(((usable - 12) * 32) / 255) - 23;
  const fits = least + ((size - least) % (usable - 4));
  const local = fits <= most ? fits : least;
  if (at + local + 4 > usable) return undefined;
  const payload = Buffer.alloc(size);
  let filled = page.copy(payload, 0, at, at + local);
  let next = page.readUInt32BE(at + local);
  const overflow = Buffer.alloc(page.length);
  for (let steps = 0; filled < size; steps++) {
    if (steps > pages || !read(next, overflow)) return undefined;
    filled += overflow.copy(payload, filled, 4, Math.min(usable, 4 + size - filled));
    next = overflow.readUInt32BE(0);
  }
  return payload;
}

/** Columns of `waybill_messages`: seq (null: it is the row's id), stream, offset, record. */
function columnsOf(payload: Buffer, seq: number): PageRow | undefined {
  const header = varint(payload, 0);
  if (header === undefined) return undefined;
  const types: number[] = [];
  for (let at = header.end; at < header.value;) {
    const type = varint(payload, at);
    if (type === undefined || types.length === 4) return undefined;
    types.push(type.value);
    at = type.end;
  }
  if (types.length !== 4 || types[0] !== 0) return undefined;
  const stream = integer(payload, header.value, types[1]!);
  const offset = stream === undefined ? undefined : integer(payload, stream.end, types[2]!);
  const blob = types[3]!;
  if (stream === undefined || offset === undefined || blob < 12 || blob % 2 !== 0) return undefined;
  const bytes = (blob - 12) / 2;
  if (offset.end + bytes > payload.length) return undefined;
  return { seq, stream: stream.value, offset: offset.value, record: Uint8Array.from(payload.subarray(offset.end, offset.end + bytes)) };
}

const integerBytes: readonly number[] = [0, 1, 2, 3, 4, 6, 8, 0, 0, 0];

function integer(from: Buffer, at: number, type: number): { readonly value: number; readonly end: number } | undefined {
  if (type === 8 || type === 9) return { value: type - 8, end: at };
  const bytes = type >= 1 && type <= 6 ? integerBytes[type]! : 0;
  if (bytes === 0 || at + bytes > from.length) return undefined;
  return { value: bytes === 8 ? Number(from.readBigInt64BE(at)) : from.readIntBE(at, bytes), end: at + bytes };
}

function varint(from: Buffer, at: number): { readonly value: number; readonly end: number } | undefined {
  let value = 0;
  for (let i = 0; i < 8; i++) {
    const byte = from[at + i];
    if (byte === undefined) return undefined;
    value = value * 128 + (byte & 127);
    if (byte < 128) return Number.isSafeInteger(value) ? { value, end: at + i + 1 } : undefined;
  }
  // Nine bytes hold numbers that we never write.
  return undefined;
}
