import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { compressionsAlgorithms } from "@platformatic/kafka";
import { WaybillError } from "@waybill/core";
import { lz4Size } from "./lz4-size.ts";

/**
 * The client's own decompression has no cap: a kilobyte may become a gigabyte. gzip and zstd take one; snappy says its size
 * up front, and of lz4 it is counted before anything is unpacked.
 */
export function decompressBatch(codec: number, packed: Uint8Array, maxBytes: number): Uint8Array {
  try {
    switch (codec) {
      case 0:
        return packed;
      case 1:
        return gunzipSync(packed, { maxOutputLength: maxBytes });
      case 2:
        if (snappySize(packed) > maxBytes) throw tooLarge(maxBytes);
        return compressionsAlgorithms.snappy.decompressSync(asBuffer(packed));
      case 3:
        if (lz4Size(packed, maxBytes) > maxBytes) throw tooLarge(maxBytes);
        return compressionsAlgorithms.lz4.decompressSync(asBuffer(packed));
      case 4:
        return zstdDecompressSync(packed, { maxOutputLength: maxBytes });
      default:
        throw new WaybillError("CORRUPT", `a record batch: compression ${codec} is not known`);
    }
  } catch (error) {
    if (error instanceof WaybillError) throw error;
    if ((error as { code?: unknown }).code === "ERR_BUFFER_TOO_LARGE") throw tooLarge(maxBytes);
    throw new WaybillError("CORRUPT", "a record batch: it cannot be unpacked", { cause: error });
  }
}

function tooLarge(maxBytes: number): WaybillError {
  return new WaybillError("TOO_LARGE", `a record batch unpacks to more than ${maxBytes} bytes`, {
    remedy: "raise maxUnpackedBytes if it is a sound one",
  });
}

const xerialMagic = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);

/** By the length that each block says first; one that lies is refused by the decoder. */
function snappySize(packed: Uint8Array): number {
  const buffer = asBuffer(packed);
  if (!buffer.subarray(0, xerialMagic.length).equals(xerialMagic)) return snappyLength(buffer);
  let size = 0;
  for (let at = 16; at + 4 <= buffer.length;) {
    const length = buffer.readUInt32BE(at);
    size += snappyLength(buffer.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return size;
}

function snappyLength(block: Uint8Array): number {
  let value = 0;
  let scale = 1;
  for (let at = 0; at < 5; at += 1) {
    const byte = block[at];
    if (byte === undefined) break;
    value += (byte & 0x7f) * scale;
    scale *= 128;
    if (byte < 0x80) return value;
  }
  throw new WaybillError("CORRUPT", "a record batch: snappy without a length");
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
