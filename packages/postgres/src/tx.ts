import type { ClientBase, QueryArrayConfig, QueryArrayResult, QueryConfig, QueryResult, QueryResultRow } from "pg";

/**
 * What a handler sees as `ctx.tx`: a connection inside the transaction. The first use takes it from the pool and begins.
 * Statements run one after another. Errors are those of `pg`, unless the link broke or the transaction is over (`CLOSED`).
 */
export interface PostgresTx {
  query<Row extends QueryResultRow = QueryResultRow>(text: string | QueryConfig, values?: readonly unknown[]): Promise<QueryResult<Row>>;
  query<Row extends unknown[] = unknown[]>(config: QueryArrayConfig, values?: readonly unknown[]): Promise<QueryArrayResult<Row>>;
  /** The client of `pg` itself, in the same transaction: for cursors, COPY and query builders. Neither end the transaction nor release it. */
  client(): Promise<ClientBase>;
}

// Comments are matched so that none can be read in two ways: a text of many would take for ever.
const blank = String.raw`(?:[\s;]|--[^\n]*\n|\/\*(?:[^*]|\*(?!\/))*\*\/)*`;
const words = String.raw`begin|start\s+transaction|commit|end|abort|rollback(?!\s+(?:work\s+|transaction\s+)?to\b)|prepare\s+transaction`;
const ends = new RegExp(`^${blank}(${words})\\b`, "i");

/** The statement that begins or ends a transaction, if it is one: those are the store's. */
export function transactionWord(text: unknown): string | undefined {
  return typeof text === "string" ? ends.exec(text)?.[1]?.toLowerCase() : undefined;
}
