import { WaybillError } from "../errors.ts";
import type { Codec } from "./codec.ts";

/** `application/octet-stream`: a `Uint8Array` as it is. It is not copied: do not change it afterwards. Anything else is `VALIDATION`. */
export const bytes: Codec = {
  contentType: "application/octet-stream",
  encode(value) {
    if (value instanceof Uint8Array) return value;
    throw new WaybillError("VALIDATION", "the body is not a Uint8Array, as application/octet-stream asks for");
  },
  decode(body) {
    return body;
  },
};
