import { WaybillError, type Message, type StoreTransaction } from "@waybill/core";
import type { PoolClient, QueryConfig, QueryResult } from "pg";
import { collectClaims, type Row } from "./claims.ts";
import { abandon, graceMs, within, type Connections } from "./connections.ts";
import { commitUnknown, isLinkLoss, isTransient, leavesCommitOpen, toError } from "./errors.ts";
import type { Settings } from "./options.ts";
import { insertOutbox } from "./outbox.ts";
import { toColumn } from "./record.ts";
import type { Statements } from "./sql.ts";
import { transactionWord, type PostgresTx } from "./tx.ts";

export interface OwnTransaction extends StoreTransaction<PostgresTx> {
  /** What the database did to it, where that was not the handler's doing: another try may well succeed. */
  readonly failure: WaybillError | undefined;
}

export interface TransactionOptions {
  readonly connections: Connections;
  readonly settings: Settings;
  readonly statements: Statements;
  readonly signal: AbortSignal;
  /** Has a connection; told again when it has none any more. */
  readonly live: Set<OwnTransaction>;
  /** Rows came into the outbox. */
  readonly enqueued: () => void;
}

const rollbackMs = 5_000;
/** The core waits for 30 s. */
const commitMs = 25_000;

/** No connection is taken before the first use. */
export function beginTransaction(options: TransactionOptions): OwnTransaction {
  const { connections, settings, statements, signal, live } = options;
  let client: PoolClient | undefined;
  /** The same, when it is in the transaction. */
  let begun: PoolClient | undefined;
  let opening: Promise<PoolClient> | undefined;
  let isOver = false;
  /** Why nothing more is taken, where it is more than that. */
  let over: WaybillError | undefined;
  let ending: Promise<void> = Promise.resolve();
  let failure: WaybillError | undefined;
  let running = 0;
  let committing = false;
  let hasRows = false;
  /** The statement that was asked for last. */
  let last: Promise<unknown> | undefined;
  let timer: NodeJS.Timeout | undefined;
  const { claim } = collectClaims(insertInbox);

  async function open(): Promise<PoolClient> {
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      return await begin();
    } catch (error) {
      if (isOver) throw over ?? gone();
      failure = toError(error, "begin");
      leave(failure);
      throw failure;
    }
  }

  async function begin(): Promise<PoolClient> {
    const until = performance.now() + settings.connectTimeoutMs;
    for (;;) {
      const taken = await connections.take(signal);
      if (isOver) {
        taken.release();
        throw over ?? gone();
      }
      client = taken;
      live.add(own);
      try {
        await taken.query(statements.begin);
        if (isOver) throw over ?? gone();
        timer = setTimeout(onLimit, settings.transactionLimitMs);
        begun = taken;
        return taken;
      } catch (error) {
        if (client !== taken) throw error;
        client = undefined;
        taken.release(true);
        // One that had broken while it was idle: nothing was done on it.
        if (!isLinkLoss(error) || performance.now() > until) throw error;
      }
    }
  }

  function onAbort(): void {
    if (!committing) end(new WaybillError("CLOSED", "the transaction is over: its attempt has ended"));
  }

  function onLimit(): void {
    if (committing) return;
    end(new WaybillError("TX_TOO_LONG", `the transaction was open for more than ${settings.transactionLimitMs} ms and was rolled back`));
  }

  /** Takes the connection out; nothing more is done in this transaction. */
  function leave(reason?: WaybillError): PoolClient | undefined {
    const had = client;
    if (!isOver) over = reason;
    isOver = true;
    client = undefined;
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
    live.delete(own);
    return had;
  }

  function end(reason?: WaybillError): void {
    const had = leave(reason);
    if (had === undefined) return;
    if (running > 0) return abandon(had);
    ending = within(had.query("rollback"), rollbackMs).then(
      () => had.release(),
      () => had.release(true),
    );
  }

  /** One after another: statements of a connection have an order, whoever waits for them. */
  function use<T>(run: (client: PoolClient) => Promise<T>): Promise<T> {
    const before = last;
    const mine = (before === undefined ? attempt(run) : before.then(() => attempt(run))).catch(noted);
    const settled = mine.then(forget, forget);
    last = settled;
    function forget(): void {
      if (last === settled) last = undefined;
    }
    return mine;
  }

  async function attempt<T>(run: (client: PoolClient) => Promise<T>): Promise<T> {
    running += 1;
    try {
      if (signal.aborted) onAbort();
      if (isOver) throw over ?? gone();
      const inside = begun ?? (await (opening ??= open()));
      if (inside.getTransactionStatus?.() === "I") throw endedByHandler();
      const result = await run(inside);
      failure = undefined;
      return result;
    } finally {
      running -= 1;
    }
  }

  function noted(error: unknown): never {
    if (isOver) throw over ?? gone();
    if (isTransient(error)) failure = toError(error, "statement");
    if (!isLinkLoss(error)) throw error;
    const lost = toError(error, "statement");
    leave(lost)?.release(true);
    failure = lost;
    throw lost;
  }

  async function insertInbox(rows: readonly Row[]): Promise<readonly Row[]> {
    const [first] = rows as [Row];
    try {
      if (rows.length === 1) {
        const { rowCount } = await use((inside) => inside.query(statements.claim, [first.scope, first.id]));
        return rowCount === 1 ? rows : [];
      }
      const values = [rows.map(({ scope }) => scope), rows.map(({ id }) => id)];
      return (await use((inside) => inside.query<Row & Record<string, unknown>>(statements.claimMany, values))).rows;
    } catch (error) {
      throw toError(error, "claim");
    }
  }

  async function commit(): Promise<void> {
    while (last !== undefined) await last;
    if (isOver) throw over ?? gone();
    const inside = client;
    if (inside === undefined) return void leave();
    const status = inside.getTransactionStatus?.();
    if (status === "E" || status === "I") {
      end();
      throw failure ?? (status === "I" ? endedByHandler() : toError({ code: "25P02", severity: "ERROR" }, "commit"));
    }
    committing = true;
    let answer: QueryResult;
    try {
      answer = await within(inside.query("commit"), Math.min(commitMs, settings.statementTimeoutMs + graceMs));
    } catch (error) {
      leave()?.release(true);
      // The library refuses what it can no longer write.
      const unsent = error instanceof Error && error.message.endsWith("is not queryable");
      if (!unsent && leavesCommitOpen(error)) throw commitUnknown("the connection broke before the answer came", error);
      throw toError(error, "commit");
    }
    leave()?.release();
    if (answer.command !== "COMMIT") throw toError({ code: "25P02", severity: "ERROR" }, "commit");
    if (hasRows) options.enqueued();
  }

  const own: OwnTransaction = {
    tx: {
      query: ((text: string | QueryConfig, values?: unknown[]) => {
        const word = transactionWord(typeof text === "string" ? text : text.text);
        if (word !== undefined) return Promise.reject(notYours(word));
        return use((inside) => inside.query(text, values));
      }) as PostgresTx["query"],
      client: () => use((inside) => Promise.resolve(inside)),
    },
    claim: (group, id) => claim(toColumn(group), toColumn(id)),
    async enqueue(messages: readonly Message[]) {
      if (messages.length === 0) return;
      try {
        await insertOutbox(messages, statements, (text, values) => use((inside) => inside.query(text, values)));
      } catch (error) {
        throw toError(error, "enqueue");
      }
      hasRows = true;
    },
    commit,
    async rollback() {
      if (!committing) end();
      await ending;
    },
    get failure() {
      return failure;
    },
  };
  return own;
}

function gone(): WaybillError {
  return new WaybillError("CLOSED", "the transaction is over");
}

function endedByHandler(): WaybillError {
  return new WaybillError("STORE", "the handler ended the transaction by itself: what it wrote is not covered by the inbox", {
    retryable: false,
    remedy: "leave begin, commit and rollback to the store; use savepoints",
  });
}

function notYours(word: string): WaybillError {
  return new WaybillError("CONFIG", `ctx.tx.query: "${word}" belongs to the store, which commits when the handler has returned`, {
    remedy: "use savepoint, release and rollback to",
  });
}
