import type { Delivery, Message } from "../transport.ts";
import type { GroupQueue } from "./queue-group.ts";
import type { Lease } from "./queue-leases.ts";
import type { Port } from "./shape.ts";

/** A message as one group keeps it, from publish to settlement. */
export interface Entry {
  readonly home: GroupQueue;
  readonly message: Message;
  /** The same in every group of the topic; grows with each publish. */
  readonly position: number;
  /** 0 to 9. Where order by key holds it counts for messages without a key alone. */
  priority: number;
  /** What the body weighs. */
  readonly bytes: number;
  /** Monotonic, so that a jump of the wall clock changes nothing. */
  readonly expiresAt: number | undefined;
  /** Those that count. */
  deliveries: number;
  /** Of the latest delivery: a settlement of an earlier one is `lost`. */
  generation: number;
  note: string | undefined;
  /** Whose it is; undefined: it waits. */
  lease: Lease | undefined;
}

/** A subscription in a group. */
export interface Member {
  readonly port: Port;
  readonly leaseMs: number;
  /** False: a reader, or an inbox: nothing is settled, so nothing is in hand. */
  readonly settles: boolean;
  inFlight: number;
  inFlightBytes: number;
  /** Tells of messages that it will never see. */
  readonly gap: (count: number, reason: string) => void;
}

export function toDelivery(entry: Entry, member: Member): Delivery {
  const { settles } = member;
  return {
    message: entry.message,
    attempt: settles ? entry.deliveries : undefined,
    position: entry.position,
    part: "",
    generation: entry.generation,
    leaseMs: settles ? member.leaseMs : undefined,
    note: entry.note,
    takenOver: false,
    handle: entry,
  };
}
