import type { WaybillError } from "../errors.ts";
import type { Message, Transaction, Transport } from "../transport.ts";

/**
 * Where inbox and outbox rows live: the user's own database. `exactlyOnce: store` makes the handler's writes, the inbox row
 * and what the handler publishes commit together; where `joins` says so, the acknowledgement too.
 */
export interface Store<Tx = unknown> extends AsyncDisposable {
  /** For people. */
  readonly name: string;
  /** Makes its tables if they are missing. Bounded by `signal`. Harmless twice. */
  open(options: { readonly signal: AbortSignal }): Promise<void>;
  close(): Promise<void>;
  /** Whether its transactions may be passed to this transport's `publish` and `settle` as `tx`. */
  joins(transport: Transport): boolean;
  /** Cheap: no lock and no connection is taken before the first use of `tx`, `claim` or `enqueue` (or of it as a `tx` option). */
  begin(options: { readonly signal: AbortSignal }): StoreTransaction<Tx>;
  /** Which of these ids the group has applied (committed inbox rows). */
  applied(group: string, ids: readonly string[]): Promise<readonly boolean[]>;
  /** Deletes inbox rows that are older than it; answers how many. */
  forget(olderThanMs: number): Promise<number>;
  readonly outbox: Outbox;
}

export interface StoreTransaction<Tx = unknown> extends Transaction {
  /** What the handler sees as `ctx.tx`. */
  readonly tx: Tx;
  /**
   * Writes the inbox row. False: it is there already, by a committed transaction; roll back. Those of a batch are called at
   * once. `STORE` and not retryable: the handler's own doing, counted as its failure (of `enqueue` and `commit` as well).
   */
  claim(group: string, id: string): Promise<boolean>;
  /** Writes outbox rows, in order. */
  enqueue(messages: readonly Message[]): Promise<void>;
  /** Set when the store failed under the handler (link lost, deadlock, serialization): what the handler throws then is not counted. */
  readonly failure?: WaybillError | undefined;
}

export interface OutboxRow {
  readonly row: number;
  readonly message: Message;
}

/** Bodies in it are bytes or null. */
export interface Outbox {
  /**
   * The oldest committed rows that nobody else holds, for `leaseMs`. Two relays are safe: while one holds a row of a key,
   * the later rows of that key are given to nobody else.
   */
  take(options: { readonly owner: string; readonly limit: number; readonly leaseMs: number }): Promise<readonly OutboxRow[]>;
  /** Sent and confirmed: deletes them. */
  done(owner: string, rows: readonly number[]): Promise<void>;
  /** Not sent: lets go of them. */
  release(owner: string, rows: readonly number[]): Promise<void>;
  backlog(): Promise<{ readonly rows: number; readonly oldestAt: number | undefined }>;
  /** Calls back (not more than needed) when rows may have come. Answers how to stop. */
  watch(wake: () => void): () => void;
}
