/** A lease's bitmap: one bit a message, set when it is done. */
export function emptyBits(count: number): Uint8Array {
  return new Uint8Array((count + 7) >> 3);
}
export function hasBit(bits: Uint8Array, at: number): boolean {
  return (bits[at >> 3]! & (1 << (at & 7))) !== 0;
}
/** False: it was set already. */
export function setBit(bits: Uint8Array, at: number): boolean {
  const mask = 1 << (at & 7);
  if ((bits[at >> 3]! & mask) !== 0) return false;
  bits[at >> 3]! |= mask;
  return true;
}
