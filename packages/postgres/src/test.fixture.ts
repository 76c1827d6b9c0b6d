import assert from "node:assert/strict";
import { after, before, type TestContext } from "node:test";
import { startBroker, type RunningBroker } from "@waybill/brokers";
import { createIds, type Message, type Store } from "@waybill/core";
import { Client, escapeIdentifier, type QueryResultRow } from "pg";
import type { PostgresStoreOptions } from "./options.ts";
import { postgresStore } from "./store.ts";
import type { PostgresTx } from "./tx.ts";

export const never: AbortSignal = new AbortController().signal;
const newId = createIds();

export interface Database {
  readonly server: RunningBroker;
  readonly url: string;
  /** On a connection beside the store. */
  sql<Row extends QueryResultRow = QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
}

/** A server for the tests of one file. */
export function useDatabase(): Database {
  let server: RunningBroker | undefined;
  let client: Client | undefined;
  const running = (): RunningBroker => {
    assert(server !== undefined);
    return server;
  };
  async function connected(): Promise<Client> {
    if (client !== undefined) return client;
    const made = new Client({ connectionString: running().url, application_name: "observer" });
    const lost = (): void => {
      if (client === made) client = undefined;
    };
    made.on("error", lost);
    made.on("end", lost);
    client = made;
    await made.connect();
    return made;
  }
  before(async () => {
    server = await startBroker("postgres");
  });
  after(async () => {
    await client?.end();
    await server?.[Symbol.asyncDispose]();
  });
  return {
    get server() {
      return running();
    },
    get url() {
      return running().url;
    },
    async sql<Row extends QueryResultRow>(text: string, values?: unknown[]) {
      return (await (await connected()).query<Row>(text, values)).rows;
    },
  };
}

let schemas = 0;

/** A name of the test's own. */
export function newSchema(): string {
  schemas += 1;
  return `test ${process.pid} ${schemas} "quoted"`;
}

/** A store in a schema of the test's own, with a table of effects `e (id text, n integer)` in it. */
export async function openStore(
  t: TestContext,
  database: Database,
  options: Partial<PostgresStoreOptions> = {},
): Promise<{ readonly store: Store<PostgresTx>; readonly schema: string; readonly table: string }> {
  const schema = options.schema ?? newSchema();
  const where = options.pool === undefined ? { connectionString: database.url } : {};
  const store = postgresStore({ ...where, ...options, schema });
  t.after(() => store.close());
  await store.open({ signal: AbortSignal.timeout(20_000) });
  const table = `${escapeIdentifier(schema)}.e`;
  await database.sql(`create table if not exists ${table} (id text, n integer)`);
  return { store, schema, table };
}

export async function inTransaction<T>(store: Store<PostgresTx>, work: (tx: PostgresTx) => Promise<T>): Promise<T> {
  const transaction = store.begin({ signal: never });
  try {
    const result = await work(transaction.tx);
    await transaction.commit();
    return result;
  } finally {
    await transaction.rollback();
  }
}

export function message(topic: string, body: string | null, more: Partial<Message> = {}): Message {
  return {
    id: newId(),
    topic,
    group: undefined,
    key: undefined,
    body: body === null ? null : Buffer.from(body),
    headers: Object.create(null) as Record<string, string>,
    time: Date.now(),
    deliverAt: undefined,
    expiresAt: undefined,
    priority: undefined,
    replyTo: undefined,
    correlationId: undefined,
    mandatory: false,
    native: undefined,
    ...more,
  };
}

export async function until(what: string, condition: () => boolean | Promise<boolean>, limitMs = 15_000): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await condition())) {
    assert(performance.now() < deadline, `waited ${limitMs} ms for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The process ids of the server that serve this store in a transaction. */
export async function sessions(database: Database, state: string): Promise<number[]> {
  const rows = await database.sql<{ pid: number }>(
    "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and state = $1",
    [state],
  );
  return rows.map(({ pid }) => pid);
}
