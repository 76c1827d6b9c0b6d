import { crc32 } from "node:zlib";
import type { Headers, Message } from "@waybill/core";

/**
 * A stored message: [checksum u32][flags u8][lengths of the texts, LEB128][time f64][deliverAt f64?][expiresAt f64?]
 * [bytes of the text, LEB128][text, UTF-8: id, key, replyTo, correlationId, names and values of the headers][body].
 * One text for all strings: it is encoded and decoded by one call, and cut by its lengths.
 */
const hasKey = 1;
const isTombstone = 2;
const hasReplyTo = 4;
const hasCorrelation = 8;
const hasDeliverAt = 16;
const hasExpiresAt = 32;
const hasPriority = 64;
const isMandatory = 128;

export const noHeaders: Headers = Object.freeze(Object.create(null) as Record<string, string>);

/** What `writeRecord` needs at most for this message, in bytes. */
export function recordBound(message: Message, bodyBytes: number): number {
  let text = message.id.length + (message.key?.length ?? 0) + (message.replyTo?.length ?? 0) + (message.correlationId?.length ?? 0);
  let texts = 5;
  for (const name of Object.keys(message.headers)) {
    text += name.length + message.headers[name]!.length;
    texts += 2;
  }
  return 4 + 1 + 24 + (texts + 1) * 5 + text * 3 + bodyBytes;
}

/** Answers where it ends. The checksum is left open: it covers the place, which is not known yet. */
export function writeRecord(into: Buffer, start: number, message: Message, body: Uint8Array | null): number {
  let at = start + 4;
  const flagsAt = at++;
  let flags = 0;
  at = writeLength(into, at, message.id.length);
  let text = message.id;
  if (message.key !== undefined) {
    flags |= hasKey;
    at = writeLength(into, at, message.key.length);
    text += message.key;
  }
  if (message.replyTo !== undefined) {
    flags |= hasReplyTo;
    at = writeLength(into, at, message.replyTo.length);
    text += message.replyTo;
  }
  if (message.correlationId !== undefined) {
    flags |= hasCorrelation;
    at = writeLength(into, at, message.correlationId.length);
    text += message.correlationId;
  }
  const names = Object.keys(message.headers);
  at = writeLength(into, at, names.length);
  for (let i = 0; i < names.length; i++) {
    const name = names[i]!;
    const value = message.headers[name]!;
    at = writeLength(into, at, name.length);
    at = writeLength(into, at, value.length);
    text += name + value;
  }
  at = into.writeDoubleLE(message.time, at);
  if (message.deliverAt !== undefined) {
    flags |= hasDeliverAt;
    at = into.writeDoubleLE(message.deliverAt, at);
  }
  if (message.expiresAt !== undefined) {
    flags |= hasExpiresAt;
    at = into.writeDoubleLE(message.expiresAt, at);
  }
  if (message.priority !== undefined) flags |= hasPriority;
  if (message.mandatory) flags |= isMandatory;
  if (body === null) flags |= isTombstone;
  into[flagsAt] = flags;
  const textBytes = Buffer.byteLength(text);
  at = writeLength(into, at, textBytes);
  at += textBytes === text.length ? into.write(text, at, "latin1") : into.write(text, at, "utf8");
  if (body !== null) {
    into.set(body, at);
    at += body.length;
  }
  return at;
}

function writeLength(into: Buffer, at: number, length: number): number {
  while (length > 127) {
    into[at++] = (length & 127) | 128;
    length = Math.floor(length / 128);
  }
  into[at++] = length;
  return at;
}

/** Where `readLength` left off. One for the module: nothing here waits. */
let cursor = 0;
function readLength(from: Uint8Array): number {
  let length = 0;
  let factor = 1;
  for (;;) {
    const byte = from[cursor++]!;
    length += (byte & 127) * factor;
    if (byte < 128) return length;
    factor *= 128;
  }
}

/** The body is a view of `from`. */
export function readRecord(from: Buffer, start: number, end: number, topic: string, group: string | undefined, priority: number): Message {
  cursor = start + 4;
  const flags = from[cursor++]!;
  const idLength = readLength(from);
  const keyLength = (flags & hasKey) === 0 ? -1 : readLength(from);
  const replyLength = (flags & hasReplyTo) === 0 ? -1 : readLength(from);
  const correlationLength = (flags & hasCorrelation) === 0 ? -1 : readLength(from);
  const headerCount = readLength(from);
  const lengthsAt = cursor;
  let textLength = idLength + Math.max(0, keyLength) + Math.max(0, replyLength) + Math.max(0, correlationLength);
  for (let i = headerCount * 2; i > 0; i--) textLength += readLength(from);
  const time = from.readDoubleLE(cursor);
  cursor += 8;
  let deliverAt: number | undefined;
  if ((flags & hasDeliverAt) !== 0) {
    deliverAt = from.readDoubleLE(cursor);
    cursor += 8;
  }
  let expiresAt: number | undefined;
  if ((flags & hasExpiresAt) !== 0) {
    expiresAt = from.readDoubleLE(cursor);
    cursor += 8;
  }
  const textBytes = readLength(from);
  const textAt = cursor;
  const text =
    textBytes === textLength ? from.toString("latin1", textAt, textAt + textBytes) : from.toString("utf8", textAt, textAt + textBytes);
  let at = idLength;
  const id = text.slice(0, at);
  let key: string | undefined;
  if (keyLength >= 0) key = text.slice(at, (at += keyLength));
  let replyTo: string | undefined;
  if (replyLength >= 0) replyTo = text.slice(at, (at += replyLength));
  let correlationId: string | undefined;
  if (correlationLength >= 0) correlationId = text.slice(at, (at += correlationLength));
  let headers = noHeaders;
  if (headerCount > 0) {
    const made = Object.create(null) as Record<string, string>;
    cursor = lengthsAt;
    for (let i = 0; i < headerCount; i++) {
      const nameEnd = at + readLength(from);
      const valueEnd = nameEnd + readLength(from);
      made[text.slice(at, nameEnd)] = text.slice(nameEnd, valueEnd);
      at = valueEnd;
    }
    headers = made;
  }
  return {
    id,
    topic,
    group,
    key,
    body: (flags & isTombstone) === 0 ? from.subarray(textAt + textBytes, end) : null,
    headers,
    time,
    deliverAt,
    expiresAt,
    priority: (flags & hasPriority) === 0 ? undefined : priority,
    replyTo,
    correlationId,
    mandatory: (flags & isMandatory) !== 0,
    native: undefined,
  };
}

/** Of a topic, group and priority: goes into the checksum of all their records. */
export function streamSeed(topic: string, group: string, priority: number): number {
  return crc32(`${topic}\0${group}\0${priority}`);
}

function seedAt(stream: number, seq: number, offset: number): number {
  const place = Math.imul(seq % 0x1_0000_0000, 0x9e3779b1) ^ Math.imul(Math.floor(seq / 0x1_0000_0000) + 1, 0x85ebca6b);
  return (stream ^ place ^ Math.imul(offset % 0x1_0000_0000, 0xc2b2ae35)) >>> 0;
}

/** Of all but the checksum itself and the place: made where the record is, so that the worker need not look at every byte. */
export function contentSum(record: Uint8Array): number {
  return crc32(record.subarray(4));
}

export function sealRecord(record: Buffer, content: number, stream: number, seq: number, offset: number): void {
  record.writeUInt32LE((content ^ seedAt(stream, seq, offset)) >>> 0, 0);
}

/** Whether the record is what was published as this offset of this stream. */
export function isSound(record: Uint8Array, stream: number, seq: number, offset: number): boolean {
  if (record.length < 16) return false;
  const sum = (record[0]! | (record[1]! << 8) | (record[2]! << 16) | (record[3]! << 24)) >>> 0;
  return sum === (contentSum(record) ^ seedAt(stream, seq, offset)) >>> 0;
}

/** Two 32-bit halves of a hash over an id, by which repeats are recognised. */
export function hashId(id: string, into: Int32Array, at: number): void {
  let low = 0x811c9dc5;
  let high = 0x165667b1;
  for (let i = 0; i < id.length; i++) {
    const unit = id.charCodeAt(i);
    low = Math.imul(low ^ unit, 0x01000193);
    high = Math.imul((high << 5) | (high >>> 27), 0x9e3779b1) ^ unit;
  }
  low = Math.imul(low ^ (low >>> 16), 0x85ebca6b);
  high = Math.imul(high ^ (high >>> 15), 0xc2b2ae35);
  into[at] = low ^ (low >>> 13);
  into[at + 1] = high ^ (high >>> 16);
}

function idBytes(record: Uint8Array): { start: number; end: number } {
  cursor = 4;
  const flags = record[cursor++]!;
  const idLength = readLength(record);
  let textLength = idLength;
  if ((flags & hasKey) !== 0) textLength += readLength(record);
  if ((flags & hasReplyTo) !== 0) textLength += readLength(record);
  if ((flags & hasCorrelation) !== 0) textLength += readLength(record);
  const headerCount = readLength(record);
  for (let i = headerCount * 2; i > 0; i--) textLength += readLength(record);
  cursor += 8 + ((flags & hasDeliverAt) === 0 ? 0 : 8) + ((flags & hasExpiresAt) === 0 ? 0 : 8);
  const textBytes = readLength(record);
  const start = cursor;
  if (textBytes === textLength) return { start, end: start + idLength };
  let end = start;
  for (let units = 0; units < idLength;) {
    const byte = record[end]!;
    units += byte >= 0xf0 ? 2 : 1;
    end += byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
  }
  return { start, end };
}

export function idOf(record: Uint8Array): string {
  const { start, end } = idBytes(record);
  return Buffer.from(record.buffer, record.byteOffset + start, end - start).toString();
}

export function keyOf(record: Uint8Array): string | undefined {
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.length);
  if ((bytes[4]! & hasKey) === 0) return undefined;
  return readRecord(bytes, 0, bytes.length, "", undefined, 0).key;
}

export function timeOf(record: Uint8Array): number {
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.length);
  return readRecord(bytes, 0, bytes.length, "", undefined, 0).time;
}
