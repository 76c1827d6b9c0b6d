import type { Capabilities, Capability, CapabilityName, Durability } from "@waybill/core";

const native: Capability = Object.freeze({ level: "native" });
const emulated = (why: string): Capability => Object.freeze({ level: "emulated", why });
const none = (why: string): Capability => Object.freeze({ level: "none", why });

const forward = none("a log goes forward and changes nothing that is in it");

const given: Readonly<Record<CapabilityName, Capability>> = {
  confirm: native,
  mandatory: emulated("a topic that exists; Kafka does not say who will read it"),
  headers: native,
  tombstone: native,
  delay: emulated("who reads it waits: in the process, or for longer by a copy in a delay topic of the group"),
  expiry: emulated("passed over when it is read"),
  priority: none("a log is read in its order"),
  deduplication: none("Kafka keeps no ids; its idempotent producer stores a repeat of one write once. Use exactlyOnce"),
  groups: native,
  publishToGroup: emulated("the group's own retry topic"),
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
  note: native,
  lease: none("a member has its partitions until it goes"),
  orderByKey: native,
  credit: native,
  revocation: native,
  inbox: emulated("a topic of this instance alone, deleted when it is closed"),
  noResponders: none("a log keeps a request for whoever comes"),
  transaction: native,
  inspect: native,
  topology: native,
  browse: native,
  remove: forward,
  seek: native,
};

export function capabilitiesOf(maxBodyBytes: number, durability: Durability): Capabilities {
  return Object.freeze({ ...given, body: "bytes", durability, maxBodyBytes });
}
