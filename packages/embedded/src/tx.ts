/** What SQLite takes and gives. */
export type SqlValue = string | number | bigint | null | Uint8Array;
export type SqlRow = Readonly<Record<string, SqlValue>>;

/**
 * What a handler of an exactly-once subscription sees as `ctx.tx`. The write lock of the file is taken at the first call, and held
 * until the handler is through: do slow work before. Tables are the handler's own; those named `waybill_…` cannot be written.
 */
export interface EmbeddedTx {
  /** @throws `TX_TOO_LONG` after the limit, `BUSY`; else what SQLite says of the statement. */
  query<Row extends SqlRow = SqlRow>(sql: string, values?: readonly SqlValue[]): Promise<readonly Row[]>;
  run(sql: string, values?: readonly SqlValue[]): Promise<{ readonly changes: number }>;
  /** Without a turn of the event loop in between: the fastest way. What it does is taken back if `work` throws. */
  transaction<Result>(work: (db: SyncSql) => Result): Promise<Result>;
}

export interface SyncSql {
  query<Row extends SqlRow = SqlRow>(sql: string, values?: readonly SqlValue[]): readonly Row[];
  run(sql: string, values?: readonly SqlValue[]): { readonly changes: number };
}
