/** Turns a body into bytes and back. `decode` may throw anything; the core turns it into `DECODE`. */
export interface Codec {
  /** Such as `application/json`: lower-case, without parameters. */
  readonly contentType: string;
  encode(value: unknown): Uint8Array;
  decode(bytes: Uint8Array): unknown;
}
