/**
 * How much an lz4 frame unpacks to, without unpacking it: the lengths of its sequences are added up, until `enough` is passed.
 * https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md and lz4_Block_format.md. What is broken counts as far as it goes:
 * the decoder refuses it.
 */
export function lz4Size(frame: Uint8Array, enough: number): number {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (frame.length < 7) return 0;
  const flags = frame[4] ?? 0;
  const hasBlockChecksum = (flags & 0x10) !== 0;
  let at = 7 + ((flags & 0x08) === 0 ? 0 : 8) + ((flags & 0x01) === 0 ? 0 : 4);
  let size = 0;
  while (at + 4 <= frame.length && size <= enough) {
    const word = view.getUint32(at, true);
    at += 4;
    if (word === 0) break;
    const length = word & 0x7fffffff;
    const end = Math.min(at + length, frame.length);
    size += word >= 0x80000000 ? length : blockSize(frame, at, end, enough);
    at += length + (hasBlockChecksum ? 4 : 0);
  }
  return size;
}

function blockSize(frame: Uint8Array, from: number, end: number, enough: number): number {
  let at = from;
  let size = 0;
  while (at < end && size <= enough) {
    const token = frame[at] ?? 0;
    at += 1;
    let literals = token >> 4;
    if (literals === 15) {
      for (let more = 255; more === 255 && at < end; at += 1) literals += more = frame[at] ?? 0;
    }
    size += literals;
    at += literals;
    if (at >= end) break;
    at += 2;
    let match = (token & 15) + 4;
    if (match === 19) {
      for (let more = 255; more === 255 && at < end; at += 1) match += more = frame[at] ?? 0;
    }
    size += match;
  }
  return size;
}
