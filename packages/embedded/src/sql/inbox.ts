import type { Connection } from "./connection.ts";

/** In a write transaction. False: the row is there already. */
export function claimRow(connection: Connection, group: string, id: string, now: number): boolean {
  return connection.run("insert or ignore into waybill_inbox (grp, id, at) values (?, ?, ?)", group, id, now) === 1;
}

export function appliedRows(connection: Connection, group: string, ids: readonly string[]): boolean[] {
  return ids.map((id) => connection.one("select 1 from waybill_inbox where grp = ? and id = ?", group, id) !== undefined);
}

/** In a write transaction; answers how many. */
export function forgetRows(connection: Connection, before: number, limit: number): number {
  return connection.run(
    "delete from waybill_inbox where (grp, id) in (select grp, id from waybill_inbox where at < ? limit ?)",
    before,
    limit,
  );
}
