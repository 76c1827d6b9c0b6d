import { promisify } from "node:util";
import { gzip, gzipSync, zstdCompress, zstdCompressSync } from "node:zlib";
import { compressionsAlgorithms } from "@platformatic/kafka";
import type { Compression } from "../options.ts";

/** As in the attributes of a batch. */
export const codecBits: Readonly<Record<Compression, number>> = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 };

/** Above it the slow codecs leave the event loop to others; below it a thread would cost more than the work. */
const syncBytes = 32 * 1024;
const gzipLater = promisify(gzip);
const zstdLater = promisify(zstdCompress);

export function compress(codec: Compression, plain: Buffer): Buffer | Promise<Buffer> {
  switch (codec) {
    case "none":
      return plain;
    case "gzip":
      return plain.length > syncBytes ? gzipLater(plain) : gzipSync(plain);
    case "zstd":
      return plain.length > syncBytes ? zstdLater(plain) : zstdCompressSync(plain);
    case "snappy":
    case "lz4":
      return compressionsAlgorithms[codec].compressSync(plain);
  }
}
