import type { Message, PublishOutcome, Settlement, SettleOutcome, StoreTransaction, Transaction } from "@waybill/core";
import { published } from "@waybill/core";
import { toError, wrap } from "./errors.ts";
import { packMessages } from "./packing.ts";
import type { Section } from "./section.ts";
import { toSettled } from "./settlements.ts";
import { append } from "./sql/append.ts";
import { claimRow } from "./sql/inbox.ts";
import { enqueueRows } from "./sql/outbox.ts";
import { settleAll } from "./sql/settle.ts";
import type { EmbeddedTx, SyncSql } from "./tx.ts";

/** A transaction of the user's thread: the handler's, and what the transport does in it. */
export interface OwnTransaction extends StoreTransaction<EmbeddedTx> {
  publish(messages: readonly Message[]): Promise<readonly PublishOutcome[]>;
  settle(
    settlements: readonly Settlement[],
    by: { readonly owner: number; readonly extendMs: number; readonly ordered: boolean },
    committed: () => void,
  ): Promise<readonly SettleOutcome[]>;
}

const known = new WeakMap<Transaction, { readonly file: string; readonly own: OwnTransaction }>();

/** The transaction, if it was begun here and is of that file. */
export function ownTransaction(tx: Transaction, file: string): OwnTransaction | undefined {
  const found = known.get(tx);
  return found?.file === file ? found.own : undefined;
}

export interface TransactionOptions {
  readonly file: string;
  readonly section: Section;
  readonly maxBodyBytes: number;
  readonly signal: AbortSignal;
  /** Rows came into the outbox. */
  readonly enqueued: () => void;
}

export function beginTransaction({ file, section, maxBodyBytes, signal, enqueued }: TransactionOptions): OwnTransaction {
  const seat = section.take(signal);
  const own: OwnTransaction = {
    tx: {
      query: (sql, values) => seat.use(({ sql: db }) => db.query(sql, values)),
      run: (sql, values) => seat.use(({ sql: db }) => db.run(sql, values)),
      transaction: (work) => seat.use(({ connection, sql }) => nested(connection, sql, work)),
    },
    claim: (group, id) => seat.use(({ connection, clock }) => wrapped(() => claimRow(connection, group, id, clock.now()))),
    async enqueue(messages) {
      await seat.use(({ connection }) => wrapped(() => enqueueRows(connection, messages, Date.now())));
      seat.afterCommit.push(enqueued);
    },
    publish: (messages) =>
      seat.use(({ connection, catalog, clock }) => {
        const packed = packMessages(messages, maxBodyBytes);
        const outcomes: PublishOutcome[] = Array.from({ length: messages.length }, () => published);
        for (const [at, error] of packed.refused ?? []) outcomes[at] = { ok: false, error };
        if (packed.index.length === 0) return outcomes;
        const { targets, data, index, newestTime } = packed;
        const timed = new Map(packed.timed.map(([at, due, expires]) => [at, { due, expires }]));
        // Whether it was stored before is the inbox row's to know, which is in the same transaction.
        const { failures } = wrapped(() =>
          append({ connection, catalog, clock, repeats: undefined }, { targets, data, index, timed, newestTime }),
        );
        for (const [n, failure] of failures ?? []) outcomes[packed.places?.[n] ?? n] = { ok: false, error: toError(failure) };
        return outcomes;
      }),
    settle: (settlements, by, committed) =>
      seat.use(({ connection, catalog, clock }) => {
        const settling = { connection, catalog, clock, owner: by.owner, isOrdered: () => by.ordered };
        const { done } = wrapped(() =>
          settleAll(
            settling,
            settlements.map((one) => toSettled(one, by.extendMs)),
          ),
        );
        seat.afterCommit.push(committed);
        return done.map((ok) => (ok ? "done" : "lost"));
      }),
    commit: () => seat.commit(),
    async rollback() {
      seat.rollback();
    },
  };
  known.set(own, { file, own });
  return own;
}

function wrapped<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw wrap(error, false);
  }
}

function nested<Result>(connection: { exec(sql: string): void }, sql: SyncSql, work: (db: SyncSql) => Result): Result {
  connection.exec("savepoint inner_section");
  try {
    const result = work(sql);
    connection.exec("release inner_section");
    return result;
  } catch (error) {
    connection.exec("rollback to inner_section; release inner_section");
    throw error;
  }
}
