import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from "node:sqlite";

export type Value = SQLInputValue;
export type Row = SQLOutputValue[];

/** One SQLite connection with its prepared statements. Rows are arrays in column order. */
export interface Connection {
  readonly path: string;
  readonly db: DatabaseSync;
  all(sql: string, ...values: Value[]): Row[];
  one(sql: string, ...values: Value[]): Row | undefined;
  /** Answers how many rows it changed. */
  run(sql: string, ...values: Value[]): number;
  prepare(sql: string): StatementSync;
  exec(sql: string): void;
  close(): void;
}

export function connectFile(path: string, options: { readonly readOnly?: boolean } = {}): Connection {
  const db = new DatabaseSync(path, {
    returnArrays: true,
    timeout: 0,
    readOnly: options.readOnly ?? false,
    enableForeignKeyConstraints: false,
    // A file that somebody else prepared must not be able to run code through its schema.
    defensive: true,
    allowExtension: false,
  });
  const statements = new Map<string, StatementSync>();
  function prepare(sql: string): StatementSync {
    let statement = statements.get(sql);
    if (statement === undefined) {
      statement = db.prepare(sql);
      statements.set(sql, statement);
    }
    return statement;
  }
  return {
    path,
    db,
    prepare,
    all: (sql, ...values) => prepare(sql).all(...values) as unknown as Row[],
    one: (sql, ...values) => prepare(sql).get(...values) as unknown as Row | undefined,
    run: (sql, ...values) => Number(prepare(sql).run(...values).changes),
    exec: (sql) => db.exec(sql),
    close() {
      statements.clear();
      if (db.isOpen) db.close();
    },
  };
}

/** What SQLite said, by its primary result code; undefined: not an error of SQLite. */
export type SqliteTrouble = "busy" | "full" | "io" | "corrupt" | "not-a-database" | "cannot-open" | "read-only" | "other";

const troubles: Readonly<Record<number, SqliteTrouble>> = {
  5: "busy",
  6: "busy",
  8: "read-only",
  10: "io",
  11: "corrupt",
  13: "full",
  14: "cannot-open",
  15: "busy",
  26: "not-a-database",
};

export function troubleOf(error: unknown): SqliteTrouble | undefined {
  if (!(error instanceof Error) || !("errcode" in error) || typeof error.errcode !== "number") return undefined;
  return troubles[error.errcode & 0xff] ?? "other";
}
