import { crc32c } from "@platformatic/kafka";
import type { Message } from "@waybill/core";
import type { Compression } from "../options.ts";
import { createBytes, ensure, varintSize, writeBlock, writeText, writeVarint, type Bytes } from "./bytes.ts";
import { codecBits, compress } from "./compress.ts";
import { countHeaders, writeHeaders } from "./header-writer.ts";

/** Who writes a batch, and which of its writes to this partition it is. */
export interface Stamp {
  readonly producerId: bigint;
  readonly epoch: number;
  readonly sequence: number;
  readonly isTransactional: boolean;
}

export interface Packed {
  /** Records without the head of their batch, packed; with how many of the messages are in it. */
  readonly count: number;
  readonly codec: Compression;
  readonly firstTime: number;
  readonly maxTime: number;
  readonly body: Buffer;
}

const headBytes = 61;
const scratch = createBytes(256 * 1024);
const keepBytes = 4 * 1024 * 1024;

/** As many of the messages from `from` on as fit into `maxBytes`, but at least one. */
export function packRecords(
  messages: readonly Message[],
  from: number,
  maxCount: number,
  maxBytes: number,
  codec: Compression,
): Packed | Promise<Packed> {
  const firstTime = (messages[from] as Message).time;
  let maxTime = firstTime;
  let count = 0;
  scratch.at = 0;
  while (count < maxCount && from + count < messages.length) {
    const message = messages[from + count] as Message;
    const start = scratch.at;
    writeRecord(scratch, message, count, message.time - firstTime);
    if (count > 0 && scratch.at + headBytes > maxBytes) {
      scratch.at = start;
      break;
    }
    if (message.time > maxTime) maxTime = message.time;
    count += 1;
  }
  const plain = Buffer.allocUnsafe(scratch.at);
  scratch.buffer.copy(plain, 0, 0, scratch.at);
  if (scratch.buffer.length > keepBytes) scratch.buffer = Buffer.allocUnsafeSlow(keepBytes);
  const body = compress(codec, plain);
  const finish = (packed: Buffer): Packed => ({ count, codec, firstTime, maxTime, body: packed });
  return body instanceof Promise ? body.then(finish) : finish(body);
}

/** https://kafka.apache.org/documentation/#record */
function writeRecord(bytes: Bytes, message: Message, offsetDelta: number, timeDelta: number): void {
  const body = message.body as Uint8Array | null;
  const guess = varintSize((body === null ? 0 : body.length) + 200);
  ensure(bytes, 64);
  const start = bytes.at;
  bytes.at += guess;
  bytes.buffer[bytes.at] = 0; // attributes
  bytes.at += 1;
  writeVarint(bytes, timeDelta);
  writeVarint(bytes, offsetDelta);
  if (message.key === undefined) writeVarint(bytes, -1);
  else writeText(bytes, message.key);
  ensure(bytes, 10);
  if (body === null) writeVarint(bytes, -1);
  else writeBlock(bytes, body);
  ensure(bytes, 10);
  writeVarint(bytes, countHeaders(message));
  writeHeaders(bytes, message);
  const length = bytes.at - start - guess;
  const size = varintSize(length);
  if (size !== guess) {
    ensure(bytes, 8);
    bytes.buffer.copyWithin(start + size, start + guess, bytes.at);
    bytes.at += size - guess;
  }
  const end = bytes.at;
  bytes.at = start;
  writeVarint(bytes, length);
  bytes.at = end;
}

/** A whole batch. https://kafka.apache.org/documentation/#recordbatch */
export function batchOf(
  { count, codec, firstTime, maxTime, body }: Packed,
  { producerId, epoch, sequence, isTransactional }: Stamp,
): Buffer {
  const batch = Buffer.allocUnsafe(headBytes + body.length);
  batch.writeBigInt64BE(0n, 0); // base offset: the broker's to give
  batch.writeInt32BE(batch.length - 12, 8);
  batch.writeInt32BE(-1, 12); // leader epoch
  batch.writeInt8(2, 16); // format
  batch.writeInt16BE(codecBits[codec] | (isTransactional ? 0x10 : 0), 21);
  batch.writeInt32BE(count - 1, 23);
  batch.writeBigInt64BE(BigInt(firstTime), 27);
  batch.writeBigInt64BE(BigInt(maxTime), 35);
  batch.writeBigInt64BE(producerId, 43);
  batch.writeInt16BE(epoch, 51);
  batch.writeInt32BE(sequence, 53);
  batch.writeInt32BE(count, 57);
  body.copy(batch, headBytes);
  batch.writeUInt32BE(crc32c(batch.subarray(21)) >>> 0, 17);
  return batch;
}
