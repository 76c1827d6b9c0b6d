/** Bytes of a body that can be weighed: bytes and strings (as if one byte a character). What travels by reference weighs nothing. */
export function weigh(body: unknown): number {
  if (typeof body === "string") return body.length;
  return ArrayBuffer.isView(body) ? body.byteLength : 0;
}

/** Plain objects and arrays, all the way down; anything else may have state of its own. */
export function freezeBody(body: unknown): void {
  const seen = new Set<object>();
  const waiting: unknown[] = [body];
  while (waiting.length > 0) {
    const value = waiting.pop();
    if (typeof value !== "object" || value === null || seen.has(value) || !isPlain(value)) continue;
    seen.add(value);
    Object.freeze(value);
    for (const part of Object.values(value)) waiting.push(part);
  }
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null || Array.isArray(value);
}
