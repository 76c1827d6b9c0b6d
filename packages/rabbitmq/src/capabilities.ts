import { capabilityNames, type Capabilities, type Capability, type CapabilityName } from "@waybill/core";
import type { QueueType, Settings } from "./options.ts";

const native: Capability = Object.freeze({ level: "native" });
const emulated = (why: string, limits?: Readonly<Record<string, number>>): Capability =>
  Object.freeze({ level: "emulated", why, ...(limits === undefined ? {} : { limits }) });
const none = (why: string): Capability => Object.freeze({ level: "none", why });

const keepsNothing = none("a queue keeps only what its group has not settled; a topic with option stream keeps it for readers");

export function noPriority(type: QueueType): string {
  return type === "classic"
    ? "set queue.maxPriority"
    : 'quorum queues have none on 3.x and two levels without strict order on 4.x (native.priority); use queue: { type: "classic", maxPriority }';
}

/** `topic`: a stream's readers can start anywhere. */
export function capabilitiesOf(settings: Settings, topic: string | undefined): Capabilities {
  const { queueType, maxPriority, delayStepsMs, declare } = settings;
  const quorum = queueType === "quorum";
  const stream = topic !== undefined && isStream(settings, topic);
  const start = stream ? emulated("for readers; a group starts at latest") : keepsNothing;
  const given: Record<CapabilityName, Capability> = {
    confirm: native,
    mandatory: native,
    headers: native,
    tombstone: emulated("an empty body and the header waybill-tombstone"),
    delay: declare
      ? emulated("a queue for each step; a delay in between takes the next longer one", {
          maxMs: delayStepsMs.at(-1) ?? 0,
          steps: delayStepsMs.length,
        })
      : none("its queues are declared when they are first used: declare is false"),
    expiry: native,
    priority:
      maxPriority === undefined
        ? none(noPriority(queueType))
        : Object.freeze({ level: "native", limits: { levels: Math.min(maxPriority, 9) + 1 } }),
    deduplication: none("the broker keeps no ids: use exactlyOnce"),
    groups: native,
    publishToGroup: native,
    reader: native,
    patterns: native,
    fromEarliest: start,
    fromPosition: start,
    fromTime: start,
    settle: native,
    settleConfirm: none("AMQP acknowledgements have no reply"),
    attempts: quorum ? native : none("classic queues only flag a redelivery"),
    retry: declare
      ? emulated("a copy in the queue of the delay, then the acknowledgement", { maxMs: delayStepsMs.at(-1) ?? 0 })
      : none("its queues are declared when they are first used: declare is false"),
    deadLetter: none("the core writes the copy with its cause, and acknowledges when it is confirmed"),
    note: none("a message in hand cannot be changed"),
    lease: none("a delivery is its member's until the connection ends (or the broker's consumer_timeout, 30 min)"),
    orderByKey: native,
    credit: native,
    revocation: none("no member owns a part of a queue"),
    inbox: native,
    noResponders: emulated("a topic without a queue; a queue that nobody reads keeps the request"),
    transaction: none("AMQP transactions are not atomic over several queues: use exactlyOnce with a store"),
    inspect: native,
    topology: native,
    browse: none("looking at a queue takes from it"),
    remove: none("looking at a queue takes from it"),
    seek: keepsNothing,
  };
  for (const name of capabilityNames) if (given[name] === undefined) throw new Error(name);
  return Object.freeze({ ...given, body: "bytes", durability: durabilityOf(settings), maxBodyBytes: settings.maxBodyBytes });
}

export function isStream({ topics }: Settings, topic: string): boolean {
  const { stream } = topics.get(topic) ?? {};
  return stream !== undefined && stream !== false;
}

/** A quorum queue on a single node loses with it; what its nodes are is the broker's affair, so no more than D2 is claimed. */
function durabilityOf({ persistent }: Settings): Capabilities["durability"] {
  return persistent ? "D2" : "D0";
}
