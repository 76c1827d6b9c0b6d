import type { Capabilities } from "../transport.ts";
import { capabilitiesOf, limited, native, none } from "./capability.ts";
import type { Settings } from "./options.ts";
import { maxRecent } from "./recent.ts";

const keepsNothing = none("a queue keeps only what its groups have not settled");

export function queueCapabilities({ encode, maxBodyBytes, deduplicationMs }: Settings): Capabilities {
  return capabilitiesOf({ body: encode ? "bytes" : "value", durability: "D0", maxBodyBytes }, "not known to the queue", {
    confirm: native,
    mandatory: native,
    headers: native,
    tombstone: native,
    delay: native,
    expiry: native,
    priority: limited({ levels: 10 }),
    deduplication:
      deduplicationMs > 0 ? limited({ windowMs: deduplicationMs, windowMessages: maxRecent }) : none("set deduplicationWindow"),
    groups: native,
    publishToGroup: native,
    reader: native,
    patterns: native,
    fromEarliest: keepsNothing,
    fromPosition: keepsNothing,
    fromTime: keepsNothing,
    settle: native,
    settleConfirm: native,
    attempts: native,
    retry: native,
    deadLetter: native,
    note: native,
    lease: native,
    orderByKey: native,
    credit: native,
    revocation: none("no member owns a part of a queue"),
    inbox: native,
    noResponders: native,
    transaction: native,
    inspect: native,
    topology: native,
    browse: native,
    remove: native,
    seek: keepsNothing,
  });
}
