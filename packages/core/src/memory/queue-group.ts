import type { Clock } from "../clock.ts";
import type { Delivery, Inspection, Message } from "../transport.ts";
import { toDelivery, type Entry, type Member } from "./queue-entry.ts";
import { createKeyLanes, type KeyLanes } from "./queue-keys.ts";
import { createLeases } from "./queue-leases.ts";
import { createReady } from "./queue-ready.ts";
import { createSchedule, monotonicOf } from "./schedule.ts";
import { muchWaiting } from "./shape.ts";

/**
 * The queue of one group of one topic. An entry is in one place at a time: ready, waiting for its time (delayed, retried),
 * parked behind its key, or leased to a member; and then it is settled and gone.
 */
export interface GroupQueue {
  readonly topic: string;
  readonly group: string;
  readonly members: readonly Member[];
  readonly isFull: boolean;
  /** See `Shape.isBehind`. */
  readonly isBehind: boolean;
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
  entries(): readonly Entry[];
  /** Settles those that are there; answers how many. */
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
  const ready = createReady();
  const later = createSchedule<Entry>(clock, becomeDue);
  const leases = createLeases(clock, expire);
  let lanes: KeyLanes | undefined;
  let count = 0;
  let expired = 0;
  let soonestExpiry = Infinity;
  let share = Infinity;
  let turn = 0;

  function add(message: Message, position: number, bytes: number): void {
    const { deliverAt } = message;
    const entry: Entry = {
      home: queue,
      message,
      position,
      priority: priorityOf(message),
      bytes,
      expiresAt: expiryOf(message),
      deliveries: 0,
      generation: 0,
      note: undefined,
      lease: undefined,
    };
    count += 1;
    const at = deliverAt === undefined ? 0 : monotonicOf(clock, deliverAt);
    if (deliverAt !== undefined && at > clock.monotonic()) later.add(entry, at);
    else ready.push(entry);
  }

  /** Of one key none may overtake another. */
  function priorityOf({ key, priority = 0 }: Message): number {
    return lanes !== undefined && key !== undefined ? 0 : priority;
  }

  function expiryOf({ expiresAt }: Message): number | undefined {
    if (expiresAt === undefined) return undefined;
    const at = monotonicOf(clock, expiresAt);
    soonestExpiry = Math.min(soonestExpiry, at);
    return at;
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
      const isOver = entry.expiresAt !== undefined && entry.expiresAt <= now;
      // One that is above the credit by itself goes alone: it would never go else.
      if (!isOver && bytes > 0 && bytes + entry.bytes > credit.bytes) break;
      ready.shift();
      if (isOver) {
        drop();
        continue;
      }
      if (lanes !== undefined && !lanes.take(entry, member)) continue;
      bytes += entry.bytes;
      entry.deliveries += 1;
      entry.generation = generation;
      taken.push(entry);
      deliveries.push(toDelivery(entry, member));
    }
    if (!member.settles) count -= taken.length;
    else if (taken.length > 0) leases.lend(taken, member);
    tellExpired(member);
    return deliveries;
  }

  function takeBack(entry: Entry, counted: boolean): void {
    end(entry);
    if (!counted) entry.deliveries -= 1;
    ready.putBack(entry);
  }

  function end(entry: Entry): void {
    leases.end(entry);
    lanes?.letGo(entry);
  }

  function becomeDue(entries: readonly Entry[]): void {
    for (const entry of entries) {
      lanes?.due(entry);
      ready.putBack(entry);
    }
    handOut();
  }

  /** Later ones of the same key go with it: their holder must not handle them before another one has handled this. */
  function expire(entries: readonly Entry[]): void {
    for (const entry of entries) {
      const fenced = lanes?.heldWith(entry) ?? [];
      for (const each of [entry, ...fenced]) if (each.lease !== undefined) takeBack(each, true);
    }
    handOut();
  }

  function drop(): void {
    count -= 1;
    expired += 1;
  }

  /** Counted where somebody was to handle it; for a reader it is as if it had never been. */
  function tellExpired(member: Member): void {
    if (expired > 0 && member.settles) member.gap(expired, "expired");
    expired = 0;
  }

  /** Only when there is no room: whoever takes finds what has expired anyway. */
  function purge(): void {
    const now = clock.monotonic();
    if (now < soonestExpiry) return;
    soonestExpiry = Infinity;
    const isOver = ({ expiresAt }: Entry): boolean => {
      if (expiresAt === undefined) return false;
      if (expiresAt <= now) drop();
      else soonestExpiry = Math.min(soonestExpiry, expiresAt);
      return expiresAt <= now;
    };
    ready.remove(isOver);
    lanes?.removeParked(isOver);
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

  function waiting(): Entry[] {
    const all: Entry[] = [];
    ready.forEach((entry) => all.push(entry));
    lanes?.forEachParked((entry) => all.push(entry));
    return all;
  }

  function entries(): readonly Entry[] {
    const all = waiting();
    later.forEach((entry) => all.push(entry));
    const now = clock.monotonic();
    const left = all.filter(({ expiresAt }) => expiresAt === undefined || expiresAt > now);
    leases.forEach((entry) => left.push(entry));
    return left;
  }

  /** What waits is sorted anew. Nobody holds anything, for the group has no members. */
  function changeOrder(keyed: boolean): void {
    const all = waiting();
    ready.remove(() => true);
    lanes = keyed ? createKeyLanes((entry) => ready.putBack(entry)) : undefined;
    later.forEach((entry) => {
      entry.priority = priorityOf(entry.message);
      if (entry.deliveries > 0) lanes?.retrying(entry);
    });
    for (const entry of all) {
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
    get isBehind() {
      return ready.size > muchWaiting && members.length > 0;
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
      for (const entry of leases.heldBy(member)) takeBack(entry, counted);
      handOut();
    },
    take,
    ack(entry) {
      end(entry);
      count -= 1;
    },
    retry(entry, delayMs, note) {
      entry.note = note ?? entry.note;
      if (delayMs <= 0) return takeBack(entry, true);
      lanes?.retrying(entry);
      end(entry);
      later.add(entry, clock.monotonic() + delayMs);
    },
    release: (entry) => takeBack(entry, false),
    extend: (extended) => leases.extend(extended),
    handOut,
    entries,
    remove(positions) {
      const fits = (entry: Entry): boolean => positions.has(entry.position);
      const gone = entries().filter(fits);
      // What is parked behind them comes free before the rest is looked through.
      for (const entry of gone) {
        end(entry);
        lanes?.due(entry);
      }
      ready.remove(fits);
      later.remove(fits);
      lanes?.removeParked(fits);
      count -= gone.length;
      handOut();
      return gone.length;
    },
    inspect() {
      const all = entries();
      const oldest = all.reduce((time, { message }) => Math.min(time, message.time), Infinity);
      return {
        depth: all.length,
        inFlight: leases.inFlight,
        lagMessages: all.length - leases.inFlight,
        oldestAgeMs: all.length === 0 ? 0 : Math.max(0, clock.now() - oldest),
        consumers: members.map(({ port, inFlight }) => ({ id: port.id, inFlight })),
      };
    },
  };
  return queue;
}
