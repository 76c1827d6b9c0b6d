import { WaybillError, type Store } from "@waybill/core";
import { closed, openConnections, type Connections } from "./connections.ts";
import { migrate } from "./migrate.ts";
import { readOptions, type PostgresStoreOptions } from "./options.ts";
import { openOutbox } from "./outbox.ts";
import { toColumn } from "./record.ts";
import { channelOf } from "./schema.ts";
import { statementsOf } from "./sql.ts";
import { beginTransaction, type OwnTransaction } from "./transaction.ts";
import type { PostgresTx } from "./tx.ts";
import { watchOutbox } from "./watch.ts";

/** Rows that one statement deletes: short locks, and others come in between. */
const forgottenAtOnce = 5_000;

/**
 * Inbox, outbox and relay in your own PostgreSQL: the handler's writes through `ctx.tx`, the inbox row and what the handler
 * publishes commit together. `open` waits for a server that is away; wrong credentials and missing rights end it at once.
 * @throws `CONFIG` listing every wrong option.
 */
export function postgresStore(options: PostgresStoreOptions): Store<PostgresTx> {
  const settings = readOptions(options);
  const { schema, redeliveryHorizonMs, logger } = settings;
  const connections: Connections = openConnections(settings);
  const statements = statementsOf(settings);
  const watch = watchOutbox(connections, channelOf(schema));
  const live = new Set<OwnTransaction>();
  let isOpen = false;
  let opening: Promise<void> | undefined;
  let closing: Promise<void> | undefined;
  let warned = false;

  function mustBeOpen(): void {
    if (closing !== undefined) throw closed();
    if (!isOpen) throw new WaybillError("STORE", "the PostgreSQL store is not open", { remedy: "await store.open(), or bus.start()" });
  }

  async function open(signal: AbortSignal): Promise<void> {
    if (closing !== undefined) throw closed();
    if (isOpen) return;
    opening ??= migrate(connections, settings, signal).finally(() => {
      opening = undefined;
    });
    await opening;
    isOpen = true;
  }

  async function shut(): Promise<void> {
    await Promise.all([...live].map((transaction) => transaction.rollback()));
    await watch.close();
    await connections.close();
    await opening?.catch(() => undefined);
  }

  /** Rows that may still be asked for are kept. */
  function keptMs(olderThanMs: number): number {
    if (olderThanMs >= redeliveryHorizonMs) return olderThanMs;
    if (!warned) {
      warned = true;
      logger.warn(
        { schema, keepInboxMs: olderThanMs, redeliveryHorizonMs },
        "inbox rows were to be deleted before the redelivery horizon: they are kept until then; set keepInbox of the bus to it at least",
      );
    }
    return redeliveryHorizonMs;
  }

  const close = (): Promise<void> => (closing ??= shut());

  return {
    name: `postgres(${schema})`,
    open: ({ signal }) => open(signal),
    close,
    [Symbol.asyncDispose]: close,
    // Its transactions are the database's: no broker takes part in them.
    joins: () => false,
    begin({ signal }) {
      mustBeOpen();
      return beginTransaction({ connections, settings, statements, signal, live, enqueued: watch.committed });
    },
    async applied(group, ids) {
      mustBeOpen();
      const columns = ids.map(toColumn);
      const { rows } = await connections.query(statements.applied, [toColumn(group), columns], "inbox");
      const found = new Set((rows as readonly { readonly id: string }[]).map(({ id }) => id));
      return columns.map((id) => found.has(id));
    },
    async forget(olderThanMs) {
      mustBeOpen();
      const ms = keptMs(olderThanMs);
      for (let all = 0; ;) {
        const { rowCount } = await connections.query(statements.forget, [ms, forgottenAtOnce], "inbox");
        all += rowCount ?? 0;
        if ((rowCount ?? 0) < forgottenAtOnce) return all;
      }
    },
    outbox: openOutbox(connections, statements, watch.add),
  };
}
