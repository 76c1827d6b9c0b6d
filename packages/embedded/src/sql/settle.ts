import { hasBit, setBit } from "./bits.ts";
import type { Catalog } from "./catalog.ts";
import type { StoreClock } from "./clock.ts";
import type { Connection } from "./connection.ts";
import { deadLetterInto } from "./dead-letter.ts";
import { wakeFollowers } from "./lease.ts";
import { keyOf } from "./record.ts";

/** `expire`: its lease ran out on this side; as a retry without delay. */
export const kinds = ["ack", "retry", "release", "dead-letter", "extend", "expire"] as const;
export type Kind = (typeof kinds)[number];

/** One settlement: by range lease (`index` ≥ 0) or of a parked message (`index` -1). */
export interface Settled {
  readonly kind: Kind;
  readonly group: number;
  readonly lease: number;
  readonly index: number;
  readonly seq: number;
  readonly attempt: number;
  /** `retry`: how long it waits; `extend`: for how long from now. */
  readonly ms: number;
  readonly note: string | undefined;
  readonly deadLetter: { readonly topic: string; readonly headers: Readonly<Record<string, string>> } | undefined;
}

export interface Settling {
  readonly connection: Connection;
  readonly catalog: Catalog;
  readonly clock: StoreClock;
  readonly owner: number;
  /** Groups of `order: "key"`: there a retried message holds back the later ones of its key. */
  readonly isOrdered: (group: number) => boolean;
}

interface OpenLease {
  readonly done: Uint8Array;
  unfinished: number;
  expires: number;
  readonly expiresBefore: number;
  changed: boolean;
}

export interface SettledAll {
  /** By settlement: false is `lost`. */
  readonly done: boolean[];
  /** Something may be fetched again before a new message comes. */
  readonly again: boolean;
  /** Groups that got dead letters. */
  readonly published: boolean;
}

/** In a write transaction. */
export function settleAll(on: Settling, settled: readonly Settled[]): SettledAll {
  const leases = new Map<number, OpenLease | undefined>();
  const done: boolean[] = [];
  let again = false;
  let published = false;
  // Notes exist only where some were written: one look for all is cheaper than a DELETE for each.
  const noted = settled.some(({ note }) => note !== undefined) || on.connection.one("select 1 from waybill_notes limit 1") !== undefined;
  for (const one of settled) {
    const ok = one.index >= 0 ? settleInRange(on, leases, one, noted) : settleParked(on, one);
    done.push(ok);
    if (!ok) continue;
    if (one.note !== undefined) {
      on.connection.run("insert or replace into waybill_notes (grp, seq, note) values (?, ?, ?)", one.group, one.seq, one.note);
    }
    if (one.deadLetter !== undefined) {
      deadLetterInto(on, one.seq, one.deadLetter.topic, one.deadLetter.headers);
      published = true;
    }
    if (one.kind !== "extend" && one.kind !== "ack") again = true;
  }
  for (const [id, lease] of leases) if (lease?.changed === true) writeLease(on.connection, id, lease);
  return { done, again, published };
}

function settleInRange(on: Settling, leases: Map<number, OpenLease | undefined>, one: Settled, noted: boolean): boolean {
  let lease = leases.get(one.lease);
  if (lease === undefined) {
    if (leases.has(one.lease)) return false;
    lease = readLease(on, one.lease);
    leases.set(one.lease, lease);
    if (lease === undefined) return false;
  }
  if (hasBit(lease.done, one.index)) return false;
  if (one.kind === "extend") {
    const until = on.clock.now() + one.ms;
    if (until > lease.expires) {
      lease.expires = until;
      lease.changed = true;
    }
    return true;
  }
  setBit(lease.done, one.index);
  lease.unfinished--;
  lease.changed = true;
  if (one.kind === "retry" || one.kind === "release" || one.kind === "expire") {
    park(on, one.group, one.seq, one.kind === "release" ? 1 : 2, on.clock.now() + (one.kind === "retry" ? one.ms : 0));
  } else if (noted) {
    on.connection.run("delete from waybill_notes where grp = ? and seq = ?", one.group, one.seq);
  }
  return true;
}

function readLease(on: Settling, id: number): OpenLease | undefined {
  const row = on.connection.one("select done, unfinished, expires from waybill_leases where id = ? and owner = ?", id, on.owner);
  if (row === undefined) return undefined;
  // Ran out, and nobody took it yet: still ours, and settling it is as good as in time.
  return {
    done: row[0] as Uint8Array,
    unfinished: Number(row[1]),
    expires: Number(row[2]),
    expiresBefore: Number(row[2]),
    changed: false,
  };
}

function writeLease(connection: Connection, id: number, lease: OpenLease): void {
  if (lease.unfinished <= 0) connection.run("delete from waybill_leases where id = ?", id);
  else if (lease.expires === lease.expiresBefore) {
    connection.run("update waybill_leases set done = ?, unfinished = ? where id = ?", lease.done, lease.unfinished, id);
  } else {
    connection.run(
      "update waybill_leases set done = ?, unfinished = ?, expires = ? where id = ?",
      lease.done,
      lease.unfinished,
      lease.expires,
      id,
    );
  }
}

/** A message that was in a range becomes an exception. */
export function park(on: Settling, group: number, seq: number, attempt: number, due: number): void {
  const { connection } = on;
  let key: string | undefined;
  if (on.isOrdered(group)) {
    const record = connection.one("select record from waybill_messages where seq = ?", seq)?.[0];
    if (record !== undefined) key = keyOf(record as Uint8Array);
  }
  connection.run(
    "insert or replace into waybill_parked (grp, seq, attempt, due, key) values (?, ?, ?, ?, ?)",
    group,
    seq,
    attempt,
    due,
    key ?? null,
  );
  if (key !== undefined && due > on.clock.now()) holdFollowers(connection, group, seq, key);
}

function holdFollowers(connection: Connection, group: number, seq: number, key: string): void {
  connection.run("update waybill_parked set due = null where grp = ? and key = ? and seq > ? and owner is null", group, key, seq);
}

function settleParked(on: Settling, one: Settled): boolean {
  const { connection } = on;
  const row = connection.one(
    "select attempt, key from waybill_parked where grp = ? and seq = ? and lease = ? and owner = ?",
    one.group,
    one.seq,
    one.lease,
    on.owner,
  );
  if (row === undefined) return false;
  const now = on.clock.now();
  const key = row[1] === null ? undefined : String(row[1]);
  switch (one.kind) {
    case "extend":
      connection.run("update waybill_parked set due = ? where grp = ? and seq = ?", now + one.ms, one.group, one.seq);
      return true;
    case "ack":
    case "dead-letter":
      connection.run("delete from waybill_parked where grp = ? and seq = ?", one.group, one.seq);
      connection.run("delete from waybill_notes where grp = ? and seq = ?", one.group, one.seq);
      if (key !== undefined) wakeFollowers(connection, one.group, key, now);
      return true;
    case "retry":
    case "release":
    case "expire":
      connection.run(
        "update waybill_parked set attempt = attempt + ?, due = ?, owner = null, sub = null, lease = null where grp = ? and seq = ?",
        one.kind === "release" ? 0 : 1,
        now + (one.kind === "retry" ? one.ms : 0),
        one.group,
        one.seq,
      );
      if (key !== undefined && one.kind === "retry" && one.ms > 0) holdFollowers(connection, one.group, one.seq, key);
      return true;
  }
}
