import type { Capabilities } from "../transport.ts";
import { capabilitiesOf, emulated, limited, native } from "./capability.ts";
import type { Settings } from "./options.ts";

export function pushCapabilities({ encode, maxBodyBytes, buffer }: Settings): Capabilities {
  return capabilitiesOf(
    { body: encode ? "bytes" : "value", durability: "D0", maxBodyBytes },
    "a push keeps nothing: who is not there misses it",
    {
      confirm: native,
      mandatory: native,
      headers: native,
      tombstone: native,
      // Looked at when it is handed out.
      expiry: emulated,
      // Of those that are there now, one.
      groups: native,
      reader: native,
      patterns: native,
      // By a buffer, and by what a member says it is done with.
      credit: Object.freeze({ ...limited({ bufferMessages: buffer }), level: "emulated" }),
      inbox: native,
      noResponders: native,
    },
  );
}
