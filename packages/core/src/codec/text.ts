import { WaybillError } from "../errors.ts";
import type { Codec } from "./codec.ts";

// A byte order mark is a character of the text, which is not ours to change.
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** `text/plain`: strings as UTF-8. Refuses what is no string or has no UTF-8 (`VALIDATION`), and bytes that are no UTF-8 (`DECODE`). */
export const text: Codec = {
  contentType: "text/plain",
  encode(value) {
    if (typeof value !== "string") throw new WaybillError("VALIDATION", "the body is not a string, as text/plain asks for");
    if (!value.isWellFormed()) throw new WaybillError("VALIDATION", "the body holds half of a surrogate pair, which has no UTF-8");
    return Buffer.from(value, "utf8");
  },
  decode(bytes) {
    try {
      return utf8.decode(bytes);
    } catch {
      throw new WaybillError("DECODE", "the body is not valid UTF-8");
    }
  },
};
