import type { Message, PublishOutcome, Settlement, SettleOutcome, StoreTransaction, Transaction } from "@waybill/core";
import { published } from "@waybill/core";
import { toError, wrap } from "./errors.ts";
import { refusalOf, targetOf } from "./packing.ts";
import type { Section } from "./section.ts";
import { toSettled } from "./settlements.ts";
import { routeFailure } from "./sql/append.ts";
import { claimRow } from "./sql/inbox.ts";
import { enqueueRows } from "./sql/outbox.ts";
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
      seat.use(({ connection, catalog }) =>
        messages.map((message): PublishOutcome => {
          const refused = refusalOf(message, maxBodyBytes);
          if (refused !== undefined) return { ok: false, error: refused };
          const failure = wrapped(() => routeFailure(connection, catalog, targetOf(message)));
          if (failure !== undefined) return { ok: false, error: toError(failure) };
          seat.deferred.messages.push(message);
          return published;
        }),
      ),
    settle: (settlements, by, committed) =>
      seat.use(({ connection, ledger }) => {
        seat.afterCommit.push(committed);
        return settlements.map((settlement) => {
          const one = toSettled(settlement, by.extendMs);
          if (!wrapped(() => ledger.note(connection, one, by.owner))) return "lost";
          seat.deferred.settlements.push({ one, owner: by.owner, ordered: by.ordered });
          return "done";
        });
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
