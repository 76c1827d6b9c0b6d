import type { Clock } from "../clock.ts";
import type { Delivery, Inspection, Message } from "../transport.ts";
import { createAlarm } from "./alarm.ts";
import { createHeap } from "./heap.ts";
import { toDelivery, type Entry, type Lease, type Member } from "./queue-entry.ts";
import { createKeyLanes, type KeyLanes } from "./queue-keys.ts";
import { createReady } from "./queue-ready.ts";

/**
 * The queue of one group of one topic. An entry is in one place at a time: ready, waiting for its time (delayed, retried),
 * parked behind its key, or leased to a member; and then it is settled and gone.
 */
export interface GroupQueue {
  readonly topic: string;
  readonly group: string;
  readonly members: readonly Member[];
  readonly isFull: boolean;
  add(message: Message, position: number, bytes: number): void;
  /** False: the group keeps another order, and members hold on to that. */
  join(member: Member, keyed: boolean): boolean;
  /** What it holds goes back: as one more attempt (`counted`, it died) or as if it had never been handed out. */
  leave(member: Member, counted: boolean): void;
  take(member: Member): Delivery[];
  ack(entry: Entry): void;
  retry(entry: Entry, delayMs: number, note: string | undefined): void;
  release(entry: Entry): void;
  /** For another lease from now. */
  extend(entries: readonly Entry[]): void;
  /** To members that wait, fair shares. After each call that may have made something ready. */
  handOut(): void;
  /** All that is not settled, whoever has it. */
  entries(): Entry[];
  remove(positions: ReadonlySet<unknown>): number;
  inspect(): Inspection;
}

export interface GroupQueueOptions {
  readonly topic: string;
  readonly group: string;
  readonly clock: Clock;
  readonly maxDepth: number;
  /** Of the whole broker, so that no two fetches share a number. */
  readonly nextGeneration: () => number;
}

const nothing: Delivery[] = [];

export function createGroupQueue({ topic, group, clock, maxDepth, nextGeneration }: GroupQueueOptions): GroupQueue {
  const members: Member[] = [];
  const leases = new Set<Lease>();
  const ready = createReady();
  const later = createHeap<{ readonly at: number; readonly entry: Entry }>((a, b) => a.at < b.at);
  const alarm = createAlarm(clock, ring);
  let lanes: KeyLanes | undefined;
  let count = 0;
  let inFlight = 0;
  let expired = 0;
  let soonestExpiry = Infinity;
  let share = Infinity;
  let turn = 0;

  function add(message: Message, position: number, bytes: number): void {
    const { deliverAt, expiresAt } = message;
    const entry: Entry = {
      home: queue, message, position, priority: priorityOf(message), bytes,
      expiresAt: expiresAt === undefined ? undefined : monotonicOf(expiresAt),
      deliveries: 0, generation: 0, note: undefined, lease: undefined,
    };
    count += 1;
    if (entry.expiresAt !== undefined && entry.expiresAt < soonestExpiry) soonestExpiry = entry.expiresAt;
    const at = deliverAt === undefined ? 0 : monotonicOf(deliverAt);
    if (at > 0 && at > clock.monotonic()) wait(entry, at);
    else ready.push(entry);
  }

  function priorityOf(message: Message): number {
    return lanes !== undefined && message.key !== undefined ? 0 : (message.priority ?? 0);
  }

  function monotonicOf(wallTime: number): number {
    return clock.monotonic() + wallTime - clock.now();
  }

  function wait(entry: Entry, at: number): void {
    later.push({ at, entry });
    alarm.at(at);
  }

  function take(member: Member): Delivery[] {
    const { credit } = member.port;
    const room = Math.min(credit.messages - member.inFlight, share);
    if (room <= 0 || ready.size === 0) return nothing;
    const now = clock.monotonic();
    const generation = nextGeneration();
    const deliveries: Delivery[] = [];
    const taken: Entry[] = [];
    let bytes = member.inFlightBytes;
    while (taken.length < room) {
      const entry = ready.peek();
      if (entry === undefined) break;
      if (entry.expiresAt !== undefined && entry.expiresAt <= now) {
        ready.shift();
        expireOne();
        continue;
      }
      // One that is above the credit by itself goes alone: it would never go else.
      if (bytes + entry.bytes > credit.bytes && bytes > 0) break;
      ready.shift();
      if (lanes !== undefined && !lanes.admits(entry, member)) continue;
      lanes?.taken(entry, member);
      bytes += entry.bytes;
      entry.deliveries += 1;
      entry.generation = generation;
      taken.push(entry);
      deliveries.push(toDelivery(entry, member));
    }
    if (member.settles) lend(taken, member, now, bytes);
    else count -= taken.length;
    reportExpired(member);
    return deliveries;
  }

  function lend(entries: Entry[], member: Member, now: number, bytes: number): void {
    if (entries.length === 0) return;
    const lease: Lease = { member, expiresAt: now + member.leaseMs, entries, unsettled: entries.length };
    for (const entry of entries) entry.lease = lease;
    leases.add(lease);
    alarm.at(lease.expiresAt);
    inFlight += entries.length;
    member.inFlight += entries.length;
    member.inFlightBytes = bytes;
  }

  /** Out of the member's hands, wherever it goes from there. */
  function letGo(entry: Entry): void {
    const lease = entry.lease as Lease;
    entry.lease = undefined;
    lease.unsettled -= 1;
    if (lease.unsettled === 0) leases.delete(lease);
    inFlight -= 1;
    lease.member.inFlight -= 1;
    lease.member.inFlightBytes -= entry.bytes;
    lanes?.letGo(entry);
  }

  function takeBack(entry: Entry, counted: boolean): void {
    letGo(entry);
    if (!counted) entry.deliveries -= 1;
    ready.putBack(entry);
  }

  function ring(): void {
    const now = clock.monotonic();
    for (let next = later.peek(); next !== undefined && next.at <= now; next = later.peek()) {
      later.pop();
      lanes?.due(next.entry);
      ready.putBack(next.entry);
    }
    for (const lease of leases) {
      if (lease.expiresAt > now) alarm.at(lease.expiresAt);
      else expire(lease);
    }
    const next = later.peek();
    if (next !== undefined) alarm.at(next.at);
    handOut();
  }

  /** Later ones of the same key go with it: their holder must not handle them before another one has handled this. */
  function expire(lease: Lease): void {
    for (const entry of lease.entries) {
      if (entry.lease !== lease) continue;
      const fenced = lanes?.held(entry) ?? [];
      takeBack(entry, true);
      for (const other of fenced) if (other.lease !== undefined) takeBack(other, true);
    }
  }

  function expireOne(): void {
    count -= 1;
    expired += 1;
  }

  /** Counted where somebody was to handle it; for a reader it is as if it had never been. */
  function reportExpired(member: Member): void {
    if (expired > 0 && member.settles) member.gap(expired, "expired");
    expired = 0;
  }

  function purge(): void {
    const now = clock.monotonic();
    if (now < soonestExpiry) return;
    soonestExpiry = Infinity;
    const gone = (entry: Entry): boolean => {
      if (entry.expiresAt === undefined) return false;
      if (entry.expiresAt > now) soonestExpiry = Math.min(soonestExpiry, entry.expiresAt);
      else expireOne();
      return entry.expiresAt <= now;
    };
    ready.remove(gone);
    lanes?.removeParked(gone);
  }

  function handOut(): void {
    if (ready.size === 0) return;
    if (members.length === 1) return members[0]?.port.wake();
    const hungry = members.filter(({ port, inFlight }) => port.waiting && port.credit.messages > inFlight);
    turn += 1;
    for (let left = hungry.length; left > 0 && ready.size > 0; left -= 1) {
      share = Math.ceil(ready.size / left);
      hungry[(left + turn) % hungry.length]?.port.wake();
    }
    share = Infinity;
  }

  function entries(): Entry[] {
    const all: Entry[] = [];
    const see = (entry: Entry): void => void all.push(entry);
    for (const lease of leases) for (const entry of lease.entries) if (entry.lease === lease) see(entry);
    later.forEach(({ entry }) => see(entry));
    lanes?.forEachParked(see);
    ready.forEach(see);
    const now = clock.monotonic();
    return all.filter((entry) => entry.lease !== undefined || entry.expiresAt === undefined || entry.expiresAt > now);
  }

  /** What waits is sorted anew; nobody holds anything. */
  function changeOrder(keyed: boolean): void {
    const waiting: Entry[] = [];
    ready.forEach((entry) => waiting.push(entry));
    lanes?.forEachParked((entry) => waiting.push(entry));
    ready.remove(() => true);
    lanes = keyed ? createKeyLanes((entry) => ready.putBack(entry)) : undefined;
    later.forEach(({ entry }) => {
      entry.priority = priorityOf(entry.message);
      if (entry.deliveries > 0) lanes?.retrying(entry);
    });
    for (const entry of waiting) {
      entry.priority = priorityOf(entry.message);
      ready.putBack(entry);
    }
  }

  const queue: GroupQueue = {
    topic,
    group,
    members,
    get isFull() {
      if (count >= maxDepth) purge();
      return count >= maxDepth;
    },
    add,
    join(member, keyed) {
      if (keyed !== (lanes !== undefined)) {
        if (members.length > 0) return false;
        changeOrder(keyed);
      }
      members.push(member);
      return true;
    },
    leave(member, counted) {
      const at = members.indexOf(member);
      if (at === -1) return;
      members.splice(at, 1);
      for (const lease of leases) {
        if (lease.member !== member) continue;
        for (const entry of lease.entries) if (entry.lease === lease) takeBack(entry, counted);
      }
      handOut();
    },
    take,
    ack(entry) {
      letGo(entry);
      count -= 1;
    },
    retry(entry, delayMs, note) {
      entry.note = note ?? entry.note;
      if (delayMs <= 0) return takeBack(entry, true);
      lanes?.retrying(entry);
      letGo(entry);
      wait(entry, clock.monotonic() + delayMs);
    },
    release: (entry) => takeBack(entry, false),
    extend(extended) {
      const member = extended[0]?.lease?.member;
      if (member === undefined) return;
      const lease: Lease = { member, expiresAt: clock.monotonic() + member.leaseMs, entries: [], unsettled: 0 };
      for (const entry of extended) {
        const before = entry.lease as Lease;
        if (before === lease) continue;
        before.unsettled -= 1;
        if (before.unsettled === 0) leases.delete(before);
        entry.lease = lease;
        lease.unsettled = lease.entries.push(entry);
      }
      leases.add(lease);
      alarm.at(lease.expiresAt);
    },
    handOut,
    entries,
    remove(positions) {
      let removed = 0;
      const fits = (entry: Entry): boolean => positions.has(entry.position);
      for (const entry of entries()) {
        if (!fits(entry)) continue;
        removed += 1;
        count -= 1;
        if (entry.lease !== undefined) letGo(entry);
        else lanes?.due(entry);
      }
      ready.remove(fits);
      later.remove(({ entry }) => fits(entry));
      lanes?.removeParked(fits);
      return removed;
    },
    inspect() {
      const all = entries();
      const oldest = all.reduce((time, { message }) => Math.min(time, message.time), Infinity);
      return {
        depth: all.length,
        inFlight,
        lagMessages: all.length - inFlight,
        oldestAgeMs: all.length === 0 ? 0 : Math.max(0, clock.now() - oldest),
        consumers: members.map(({ port, inFlight }) => ({ id: port.id, inFlight })),
      };
    },
  };
  return queue;
}
