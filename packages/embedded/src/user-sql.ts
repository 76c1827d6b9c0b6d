import { constants, type StatementSync } from "node:sqlite";
import type { Connection } from "./sql/connection.ts";
import type { SqlRow, SqlValue, SyncSql } from "./tx.ts";

const maxStatements = 500;

/** Runs the statements of handlers on the connection. They may not end the transaction, nor write the tables of the transport. */
export function openUserSql(connection: Connection): SyncSql {
  const statements = new Map<string, StatementSync>();
  let isUser = false;
  connection.db.setAuthorizer((action, name, second) => {
    if (!isUser) return constants.SQLITE_OK;
    switch (action) {
      case constants.SQLITE_TRANSACTION:
      case constants.SQLITE_SAVEPOINT:
      case constants.SQLITE_ATTACH:
      case constants.SQLITE_DETACH:
      case constants.SQLITE_PRAGMA:
        return constants.SQLITE_DENY;
      case constants.SQLITE_INSERT:
      case constants.SQLITE_UPDATE:
      case constants.SQLITE_DELETE:
      case constants.SQLITE_DROP_TABLE:
      case constants.SQLITE_DROP_INDEX:
        return name?.startsWith("waybill_") === true ? constants.SQLITE_DENY : constants.SQLITE_OK;
      // The table is the second name.
      case constants.SQLITE_ALTER_TABLE:
      case constants.SQLITE_CREATE_TRIGGER:
      case constants.SQLITE_CREATE_INDEX:
        return second?.startsWith("waybill_") === true ? constants.SQLITE_DENY : constants.SQLITE_OK;
      default:
        return constants.SQLITE_OK;
    }
  });

  function prepared(sql: string): StatementSync {
    let statement = statements.get(sql);
    if (statement !== undefined) return statement;
    statement = connection.db.prepare(sql);
    statement.setReturnArrays(false);
    if (statements.size >= maxStatements) statements.delete(statements.keys().next().value!);
    statements.set(sql, statement);
    return statement;
  }

  function asUser<T>(run: () => T): T {
    isUser = true;
    try {
      return run();
    } finally {
      isUser = false;
    }
  }

  return {
    query: <Row extends SqlRow>(sql: string, values: readonly SqlValue[] = []) =>
      asUser(() => prepared(sql).all(...values) as unknown as readonly Row[]),
    run: (sql, values = []) => asUser(() => ({ changes: Number(prepared(sql).run(...values).changes) })),
  };
}
