import { type Connection, type Row, troubleOf } from "../sql/connection.ts";

/** Rows of a table from both ends as far as they can be read. `whole`: nothing stood in between. */
export function readTable(
  connection: Connection,
  table: string,
): { readonly columns: readonly string[]; readonly rows: Row[]; readonly whole: boolean } {
  const columns = connection.all(`pragma table_info("${table.replaceAll('"', '""')}")`).map((row) => String(row[1]));
  const keys = connection
    .all(`pragma table_info("${table.replaceAll('"', '""')}")`)
    .filter((row) => Number(row[5]) > 0)
    .sort((a, b) => Number(a[5]) - Number(b[5]))
    .map((row) => String(row[1]));
  const order = keys.length > 0 ? keys : ["rowid"];
  const up = readOn(connection, table, order, "asc");
  if (up.whole) return { columns, rows: up.rows, whole: true };
  const down = readOn(connection, table, order, "desc");
  return { columns, rows: [...up.rows, ...down.rows.toReversed()], whole: false };
}

function readOn(connection: Connection, table: string, order: readonly string[], way: "asc" | "desc"): { rows: Row[]; whole: boolean } {
  const rows: Row[] = [];
  try {
    const by = order.map((name) => `"${name}" ${way}`).join(", ");
    const statement = connection.db.prepare(`select * from "${table.replaceAll('"', '""')}" not indexed order by ${by}`);
    statement.setReadBigInts(true);
    for (const row of statement.iterate()) rows.push(row as unknown as Row);
    return { rows, whole: true };
  } catch (error) {
    if (troubleOf(error) === undefined) throw error;
    return { rows, whole: false };
  }
}

/** Rows of the messages table between two positions; where a page is broken, all that can be reached around it. */
export function* messageRows(
  connection: Connection,
  from: number,
  until: number,
): Generator<{ readonly rows: readonly Row[] } | { readonly broken: number }, void, undefined> {
  if (from > until) return;
  try {
    yield { rows: connection.all("select seq, stream, offset, record from waybill_messages where seq between ? and ?", from, until) };
  } catch (error) {
    if (troubleOf(error) !== "corrupt") throw error;
    if (from === until) {
      yield { broken: from };
      return;
    }
    const middle = Math.floor((from + until) / 2);
    yield* messageRows(connection, from, middle);
    yield* messageRows(connection, middle + 1, until);
  }
}
