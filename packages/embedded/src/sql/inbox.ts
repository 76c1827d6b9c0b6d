import type { Connection } from "./connection.ts";

/** In a write transaction. False: the row is there already. */
export function claimRow(connection: Connection, group: string, id: string, now: number): boolean {
  return connection.run("insert or ignore into waybill_inbox (grp, id, at) values (?, ?, ?)", group, id, now) === 1;
}

export function appliedRows(connection: Connection, group: string, ids: readonly string[]): boolean[] {
  return ids.map((id) => connection.one("select 1 from waybill_inbox where grp = ? and id = ?", group, id) !== undefined);
}

/** Where a walk through the inbox stands: the row that it looked at last. */
export type InboxPlace = readonly [group: string, id: string];

/**
 * In a write transaction: looks at the next `limit` rows and deletes those from before. There is no index by time: each
 * claim would write its page, and this runs once an hour. `next` undefined: that was the last row.
 */
export function forgetRows(
  connection: Connection,
  before: number,
  after: InboxPlace,
  limit: number,
): { readonly gone: number; readonly next: InboxPlace | undefined } {
  const last = connection.one(
    "select grp, id from waybill_inbox where (grp, id) > (?, ?) order by grp, id limit 1 offset ?",
    ...after,
    limit - 1,
  );
  if (last === undefined) {
    return { gone: connection.run("delete from waybill_inbox where (grp, id) > (?, ?) and at < ?", ...after, before), next: undefined };
  }
  const next = [String(last[0]), String(last[1])] as const;
  const gone = connection.run(
    "delete from waybill_inbox where (grp, id) > (?, ?) and (grp, id) <= (?, ?) and at < ?",
    ...after,
    ...next,
    before,
  );
  return { gone, next };
}
