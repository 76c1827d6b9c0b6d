import type { Connection } from "./connection.ts";
import { holderOf } from "./recover.ts";
import type { Taker } from "./lease.ts";

/**
 * A group with `order: "key"` is in the hands of one subscription at a time, over all processes; the others stand by. It changes
 * hands only when nothing of the old holder is in hand any more: settled, released, or its lease ran out.
 * In a write transaction; answers whether the group is the taker's now.
 */
export function holdGroup(connection: Connection, group: number, taker: Taker, now: number): boolean {
  const me = holderOf(taker.owner, taker.sub);
  const row = connection.one("select holder, hold_until from waybill_groups where id = ?", group);
  if (row === undefined) return false;
  const until = now + taker.leaseMs;
  if (row[0] !== null && Number(row[0]) === me) {
    if (Number(row[1]) < now + taker.leaseMs / 2) connection.run("update waybill_groups set hold_until = ? where id = ?", until, group);
    return true;
  }
  if (row[0] !== null && Number(row[1]) > now) return false;
  if (isInHand(connection, group, taker, now)) return false;
  connection.run("update waybill_groups set holder = ?, hold_until = ? where id = ?", me, until, group);
  return true;
}

/** Until when somebody else holds the group; undefined: nobody does. Needs no transaction. */
export function heldUntil(connection: Connection, group: number, taker: Taker, now: number): number | undefined {
  const row = connection.one("select holder, hold_until from waybill_groups where id = ?", group);
  if (row === undefined || row[0] === null || Number(row[0]) === holderOf(taker.owner, taker.sub)) return undefined;
  const until = Number(row[1]);
  return until > now ? until : undefined;
}

/** Of anybody else. */
function isInHand(connection: Connection, group: number, taker: Taker, now: number): boolean {
  const lease = connection.one(
    "select 1 from waybill_leases where grp = ? and expires > ? and not (owner = ? and sub = ?) limit 1",
    group,
    now,
    taker.owner,
    taker.sub,
  );
  if (lease !== undefined) return true;
  const parked = connection.one(
    "select 1 from waybill_parked where grp = ? and owner is not null and due > ? and not (owner = ? and sub = ?) limit 1",
    group,
    now,
    taker.owner,
    taker.sub,
  );
  return parked !== undefined;
}
