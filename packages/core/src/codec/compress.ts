import { promisify } from "node:util";
import * as zlib from "node:zlib";
import { WaybillError } from "../errors.ts";

/** As it stands in the header `content-encoding`. */
export type Encoding = "gzip" | "br" | "zstd";
export const encodings: readonly Encoding[] = ["gzip", "br", "zstd"];

/** Up to here (about 1 ms of work) it is done at once; above, on the thread pool. */
const syncBytes = 32 * 1024;
/** What a body may become on the calling thread; more than that is unpacked on the thread pool. */
const syncUnpackedBytes = 256 * 1024;

const { constants } = zlib;
// Brotli's own default, 11, takes a hundred times as long for a tenth less.
const brotli = { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } };
// Without its checksum zstd reads changed bytes without complaint.
const zstd = { params: { [constants.ZSTD_c_checksumFlag]: 1 } };

/** Compressed bytes; a promise only for large bodies. */
export function compress(bytes: Uint8Array, encoding: Encoding): Uint8Array | Promise<Uint8Array> {
  return bytes.length <= syncBytes ? packNow(bytes, encoding) : packLater(bytes, encoding);
}

function packNow(bytes: Uint8Array, encoding: Encoding): Uint8Array {
  if (encoding === "gzip") return zlib.gzipSync(bytes);
  return encoding === "br" ? zlib.brotliCompressSync(bytes, brotli) : zlib.zstdCompressSync(bytes, zstd);
}

const gzipAsync = promisify<Uint8Array, Uint8Array>(zlib.gzip);
const brotliAsync = promisify<Uint8Array, zlib.BrotliOptions, Uint8Array>(zlib.brotliCompress);
const zstdAsync = promisify<Uint8Array, zlib.ZstdOptions, Uint8Array>(zlib.zstdCompress);

function packLater(bytes: Uint8Array, encoding: Encoding): Promise<Uint8Array> {
  if (encoding === "gzip") return gzipAsync(bytes);
  return encoding === "br" ? brotliAsync(bytes, brotli) : zstdAsync(bytes, zstd);
}

/**
 * The body that `contentEncoding` (the header; "" and `identity` mean none) was applied to. One encoding at most: what is inside a
 * compressed body is not unpacked again. A promise only for large bodies.
 * Throws or rejects with `DECODE`: another encoding, broken or cut data, data after the end, or more than `maxBytes` of it.
 */
export function decompress(bytes: Uint8Array, contentEncoding: string, maxBytes: number): Uint8Array | Promise<Uint8Array> {
  const encoding = readEncoding(contentEncoding);
  if (encoding === undefined) return bytes;
  if (bytes.length <= syncBytes) {
    try {
      return whole(unpackNow(bytes, encoding, Math.min(maxBytes, syncUnpackedBytes)), bytes.length, encoding);
    } catch (error) {
      if (!isTooLarge(error) || maxBytes <= syncUnpackedBytes) throw unreadable(error, encoding, maxBytes);
    }
  }
  return unpackLater(bytes, encoding, maxBytes);
}

function readEncoding(contentEncoding: string): Encoding | undefined {
  if (contentEncoding === "" || contentEncoding === "identity") return undefined;
  const known = encodings.find((encoding) => encoding === contentEncoding || encoding === contentEncoding.toLowerCase());
  if (known !== undefined) return known;
  throw new WaybillError("DECODE", `the content encoding is not one of ${encodings.join(", ")}, once`);
}

/** What zlib gives with `info: true`; `bytesWritten` is what it has read of the input. */
interface Unpacked {
  readonly buffer: Uint8Array;
  readonly engine: { readonly bytesWritten: number };
}

function unpackNow(bytes: Uint8Array, encoding: Encoding, maxBytes: number): Unpacked {
  const options = { maxOutputLength: maxBytes, info: true };
  const unpack = { gzip: zlib.gunzipSync, br: zlib.brotliDecompressSync, zstd: zlib.zstdDecompressSync }[encoding];
  return unpack(bytes, options) as unknown as Unpacked; // the types do not know what `info` does
}

type UnpackAsync = (bytes: Uint8Array, options: zlib.ZlibOptions, done: (error: Error | null, result: unknown) => void) => void;
const unpackAsync: Readonly<Record<Encoding, UnpackAsync>> = {
  gzip: zlib.gunzip,
  br: zlib.brotliDecompress,
  zstd: (bytes, options, done) => zlib.zstdDecompress(bytes, options as zlib.ZstdOptions, done),
};

function unpackLater(bytes: Uint8Array, encoding: Encoding, maxBytes: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    unpackAsync[encoding](bytes, { maxOutputLength: maxBytes, info: true }, (error, result) => {
      try {
        if (error !== null) throw unreadable(error, encoding, maxBytes);
        resolve(whole(result as Unpacked, bytes.length, encoding));
      } catch (problem) {
        reject(problem);
      }
    });
  });
}

/** Brotli and zstd stop at their end mark and would drop what follows in silence. */
function whole({ buffer, engine }: Unpacked, inputBytes: number, encoding: Encoding): Uint8Array {
  if (engine.bytesWritten === inputBytes) return buffer;
  throw new WaybillError("DECODE", `the ${encoding} body has data after its end`);
}

function isTooLarge(error: unknown): boolean {
  return error instanceof RangeError && (error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE";
}

function unreadable(error: unknown, encoding: Encoding, maxBytes: number): WaybillError {
  if (error instanceof WaybillError) return error;
  const text = isTooLarge(error)
    ? `the ${encoding} body unpacks to more than ${maxBytes} bytes`
    : `the ${encoding} body is broken or cut off`;
  return new WaybillError("DECODE", text);
}
