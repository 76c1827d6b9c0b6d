/** A buffer that grows, and is used again and again. */
export interface Bytes {
  buffer: Buffer;
  at: number;
}

export function createBytes(size: number): Bytes {
  return { buffer: Buffer.allocUnsafeSlow(size), at: 0 };
}

export function ensure(bytes: Bytes, more: number): void {
  const needed = bytes.at + more;
  if (needed <= bytes.buffer.length) return;
  const grown = Buffer.allocUnsafeSlow(Math.max(needed, bytes.buffer.length * 2));
  bytes.buffer.copy(grown, 0, 0, bytes.at);
  bytes.buffer = grown;
}

/** Zigzag varint of a safe integer; room has to be there. */
export function writeVarint(bytes: Bytes, value: number): void {
  // Above 31 bits shifts lose bits: a difference of times may have more.
  let rest = value >= 0 ? value * 2 : -value * 2 - 1;
  const { buffer } = bytes;
  let { at } = bytes;
  while (rest >= 0x80) {
    buffer[at] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
    at += 1;
  }
  buffer[at] = rest;
  bytes.at = at + 1;
}

/** How many bytes the varint of a length takes. */
export function varintSize(length: number): number {
  return length < 0x40 ? 1 : length < 0x2000 ? 2 : length < 0x100000 ? 3 : length < 0x8000000 ? 4 : 5;
}

/** The length as varint, and the text as UTF-8. Makes room by itself. */
export function writeText(bytes: Bytes, text: string): void {
  const { length } = text;
  ensure(bytes, length * 3 + 5);
  if (length < 48 && writeShort(bytes, text, length)) return;
  const size = Buffer.byteLength(text);
  writeVarint(bytes, size);
  bytes.at += bytes.buffer.write(text, bytes.at, size, "utf8");
}

/** Calls into native code cost more than a short ASCII text. */
function writeShort(bytes: Bytes, text: string, length: number): boolean {
  const { buffer, at } = bytes;
  buffer[at] = length * 2;
  for (let index = 0; index < length; index += 1) {
    const code = text.charCodeAt(index);
    if (code > 127) return false;
    buffer[at + 1 + index] = code;
  }
  // Up to 63 the varint of a length is one byte.
  bytes.at = at + 1 + length;
  return true;
}

export function writeBlock(bytes: Bytes, block: Uint8Array): void {
  ensure(bytes, block.length + 5);
  writeVarint(bytes, block.length);
  bytes.buffer.set(block, bytes.at);
  bytes.at += block.length;
}
