import type { Clock } from "../clock.ts";
import { createAlarm } from "./alarm.ts";
import type { Entry, Member } from "./queue-entry.ts";

/**
 * The deliveries of one fetch run out together, so the base path keeps nothing per message. What is extended moves to a new
 * lease; `entries` may therefore hold some that are no longer its own.
 */
export interface Lease {
  readonly member: Member;
  readonly expiresAt: number;
  readonly entries: Entry[];
  unsettled: number;
}

/** Who has what in hand, and for how long. */
export interface Leases {
  readonly inFlight: number;
  /** All of one fetch. */
  lend(entries: Entry[], member: Member): void;
  /** For another lease from now. */
  extend(entries: readonly Entry[]): void;
  /** Out of the member's hands, wherever it goes from there. */
  end(entry: Entry): void;
  heldBy(member: Member): readonly Entry[];
  forEach(visit: (entry: Entry) => void): void;
}

/** `expired`: called with what a member has had for too long; each must be ended. */
export function createLeases(clock: Clock, expired: (entries: readonly Entry[]) => void): Leases {
  const leases = new Set<Lease>();
  let inFlight = 0;

  const alarm = createAlarm(clock, () => {
    const now = clock.monotonic();
    const over: Entry[] = [];
    for (const lease of leases) {
      if (lease.expiresAt > now) alarm.at(lease.expiresAt);
      else collect(lease, over);
    }
    expired(over);
  });

  function collect(lease: Lease, into: Entry[]): void {
    for (const entry of lease.entries) if (entry.lease === lease) into.push(entry);
  }

  function open(member: Member, entries: Entry[]): Lease {
    const lease: Lease = { member, expiresAt: clock.monotonic() + member.leaseMs, entries, unsettled: entries.length };
    leases.add(lease);
    alarm.at(lease.expiresAt);
    return lease;
  }

  function leave(lease: Lease): void {
    lease.unsettled -= 1;
    if (lease.unsettled === 0) leases.delete(lease);
  }

  return {
    get inFlight() {
      return inFlight;
    },
    lend(entries, member) {
      const lease = open(member, entries);
      let bytes = 0;
      for (const entry of entries) {
        entry.lease = lease;
        bytes += entry.bytes;
      }
      inFlight += entries.length;
      member.inFlight += entries.length;
      member.inFlightBytes += bytes;
    },
    extend(entries) {
      const member = entries.find(({ lease }) => lease !== undefined)?.lease?.member;
      if (member === undefined) return;
      const lease = open(member, []);
      for (const entry of entries) {
        if (entry.lease === undefined || entry.lease === lease) continue;
        leave(entry.lease);
        entry.lease = lease;
        lease.unsettled = lease.entries.push(entry);
      }
    },
    end(entry) {
      const { lease } = entry;
      if (lease === undefined) return;
      entry.lease = undefined;
      leave(lease);
      inFlight -= 1;
      lease.member.inFlight -= 1;
      lease.member.inFlightBytes -= entry.bytes;
    },
    heldBy(member) {
      const held: Entry[] = [];
      for (const lease of leases) if (lease.member === member) collect(lease, held);
      return held;
    },
    forEach(visit) {
      for (const lease of leases) for (const entry of lease.entries) if (entry.lease === lease) visit(entry);
    },
  };
}
