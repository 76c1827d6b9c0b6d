import { DatabaseSync } from "node:sqlite";
import type { Store, Transport } from "@waybill/core";
import { embeddedStore, type EmbeddedTransport, type EmbeddedTx, type SqlValue } from "@waybill/embedded";
import { catalogue } from "./catalogue.ts";
import type { OrderSource } from "./ipc.ts";
import { schema } from "./schema.ts";

/** What the services write through, inside a transaction. */
export interface Sql {
  /** Answers how many rows it changed. */
  run(sql: string, ...values: SqlValue[]): Promise<number>;
  /** The first row. */
  get(sql: string, ...values: SqlValue[]): Promise<Readonly<Record<string, unknown>> | undefined>;
}

/** The services' data with the inbox and the outbox beside it. */
export interface Database {
  readonly store: Store<EmbeddedTx>;
  /** For looking only; it never waits for those who write. Opened at its first use. */
  readonly reader: DatabaseSync;
  /** Messages that are committed and not yet published. */
  outboxRows(): Promise<number>;
  close(): Promise<void>;
}

/** Only while the file is being opened or recovered. */
const readerWaitMs = 5000;

/** A transport that is a database itself: its store joins it, and one commit holds the acknowledgement too. */
export function hasStore(transport: Transport): transport is EmbeddedTransport {
  return "store" in transport;
}

/** The database file of that path; undefined: the transport's own. */
export function openDatabase(file: string | undefined, transport: Transport): Database {
  if (file === undefined && !hasStore(transport))
    throw new Error("--store: this transport keeps no data, give the path of a database file");
  const own = file === undefined && hasStore(transport) ? transport : undefined;
  const path = own?.client.path ?? file ?? "";
  const store = own?.store ?? embeddedStore({ path });
  let reader: DatabaseSync | undefined;
  return {
    store,
    get reader() {
      return (reader ??= new DatabaseSync(path, { readOnly: true, timeout: readerWaitMs }));
    },
    outboxRows: async () => (await store.outbox.backlog()).rows,
    async close() {
      reader?.close();
      await store.close();
    },
  };
}

export function sqlOf(tx: EmbeddedTx): Sql {
  return {
    run: async (sql, ...values) => (await tx.run(sql, values)).changes,
    get: async (sql, ...values) => (await tx.query(sql, values))[0],
  };
}

export interface Prepared {
  /** Counts the runs with this data, from 1. */
  readonly run: number;
  readonly seed: number;
  /** In the books already, by where they came from. */
  readonly orders: Readonly<Record<OrderSource, number>>;
}

const prepareMs = 10_000;
const defaultSeed = 1;

/** Makes tables and stock if they are missing and begins a run. Throws when the data was made with another seed. */
export async function prepareDatabase(database: Database, askedSeed: number | undefined): Promise<Prepared> {
  const signal = AbortSignal.timeout(prepareMs);
  await database.store.open({ signal });
  const transaction = database.store.begin({ signal });
  try {
    const prepared = await prepare(sqlOf(transaction.tx), askedSeed);
    await transaction.commit();
    return prepared;
  } catch (error) {
    await transaction.rollback();
    throw error;
  }
}

async function prepare(sql: Sql, askedSeed: number | undefined): Promise<Prepared> {
  for (const statement of schema) await sql.run(statement);
  for (const { sku, initialStock } of catalogue) {
    await sql.run("insert into stock (sku, on_hand, reserved, shipped) values (?, ?, 0, 0) on conflict do nothing", sku, initialStock);
  }
  const last = await sql.get("select number, seed from runs order by number desc limit 1");
  const seed = askedSeed ?? (last === undefined ? defaultSeed : Number(last["seed"]));
  if (last !== undefined && last["seed"] !== seed) {
    throw new Error(`the data was made with --seed ${String(last["seed"])}: its orders would fail otherwise than they did`);
  }
  const run = last === undefined ? 1 : Number(last["number"]) + 1;
  await sql.run("insert into runs (number, seed, started_at) values (?, ?, ?)", run, seed, Date.now());
  const count = async (source: OrderSource): Promise<number> =>
    Number((await sql.get("select count(*) as n from orders where source = ?", source))?.["n"] ?? 0);
  return { run, seed, orders: { generator: await count("generator"), input: await count("input"), http: await count("http") } };
}
