import { hasBit } from "./bits.ts";
import { seqsOf } from "./runs.ts";
import { park, type Settling } from "./settle.ts";

/**
 * In a write transaction. Leases that ran out, or whose member is dead, become single messages that are due now; being in hand
 * counts as an attempt. Answers whether there were any.
 */
export function recoverExpired(on: Settling): boolean {
  const now = on.clock.now();
  const rows = on.connection.all("select id from waybill_leases where expires <= ?", now);
  for (const row of rows) endLease(on, Number(row[0]), "expired");
  return rows.length > 0;
}

/** `released`: a clean end, which does not count. */
export function endLease(on: Settling, id: number, how: "expired" | "released"): void {
  const { connection } = on;
  const row = connection.one("select grp, stream, first, count, done from waybill_leases where id = ?", id);
  if (row === undefined) return;
  const [group, stream, first, count] = row.slice(0, 4).map(Number) as [number, number, number, number];
  const done = row[4] as Uint8Array;
  let keep = count;
  if (how === "released") {
    const cursor = connection.one("select next from waybill_cursors where grp = ? and stream = ?", group, stream);
    if (cursor !== undefined && Number(cursor[0]) === first + count) {
      while (keep > 0 && !hasBit(done, keep - 1)) keep--;
      if (keep < count) connection.run("update waybill_cursors set next = ? where grp = ? and stream = ?", first + keep, group, stream);
    }
  }
  if (keep > 0) {
    const seqs = seqsOf(connection, stream, first, keep);
    const at = on.clock.now();
    // Deleted by nobody while leased, so all are there unless the file is damaged.
    for (let i = 0; i < seqs.length; i++) if (!hasBit(done, i)) park(on, group, seqs[i]!, how === "released" ? 1 : 2, at);
  }
  connection.run("delete from waybill_leases where id = ?", id);
  if (how === "expired") connection.run("update waybill_groups set holder = null, hold_until = null where id = ?", group);
}

/** All that a subscription (or, without `sub`, a member) has in hand. */
export function endLeasesOf(on: Settling, owner: number, sub: number | undefined, how: "expired" | "released"): void {
  const { connection } = on;
  const leases =
    sub === undefined
      ? connection.all("select id from waybill_leases where owner = ? order by id desc", owner)
      : connection.all("select id from waybill_leases where owner = ? and sub = ? order by id desc", owner, sub);
  for (const row of leases) endLease(on, Number(row[0]), how);
  const counted = how === "released" ? 0 : 1;
  const free = "update waybill_parked set attempt = attempt + ?, due = ?, owner = null, sub = null, lease = null where owner = ?";
  if (sub === undefined) connection.run(free, counted, on.clock.now(), owner);
  else connection.run(`${free} and sub = ?`, counted, on.clock.now(), owner, sub);
  if (sub === undefined) connection.run("update waybill_groups set holder = null, hold_until = null where holder >> 20 = ?", owner);
  else connection.run("update waybill_groups set holder = null, hold_until = null where holder = ?", holderOf(owner, sub));
}

/** Names a subscription of a member in one number. */
export function holderOf(owner: number, sub: number): number {
  return owner * 0x10_0000 + sub;
}
