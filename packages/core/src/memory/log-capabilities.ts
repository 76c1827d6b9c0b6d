import type { Capabilities } from "../transport.ts";
import { capabilitiesOf, emulated, limited, native, none } from "./capability.ts";
import type { Settings } from "./options.ts";

const forward = none("a log goes forward and changes nothing that is in it");

export function logCapabilities({ encode, maxBodyBytes, partitions }: Settings): Capabilities {
  return capabilitiesOf({ body: encode ? "bytes" : "value", durability: "D0", maxBodyBytes }, "not known to the log", {
    confirm: native,
    mandatory: native,
    headers: native,
    tombstone: native,
    // Kept aside until it is due, and written then.
    delay: emulated,
    // Passed over when it is read.
    expiry: emulated,
    priority: none("a log is read in its order"),
    deduplication: none("a log keeps what it is given"),
    groups: native,
    // By a log of the group's own, which its members read too.
    publishToGroup: native,
    reader: native,
    patterns: native,
    fromEarliest: native,
    fromPosition: native,
    fromTime: native,
    settle: native,
    settleConfirm: native,
    attempts: none("a log counts no deliveries"),
    retry: forward,
    deadLetter: forward,
    // With the committed offset: it outlives its member for the first unfinished message alone.
    note: native,
    lease: none("a member has its partitions until it goes"),
    orderByKey: limited({ partitions }),
    credit: native,
    revocation: native,
    inbox: native,
    noResponders: none("a log keeps a request for whoever comes"),
    transaction: none("not built for the log: use the queue"),
    inspect: native,
    topology: native,
    browse: native,
    remove: forward,
    seek: native,
  });
}
