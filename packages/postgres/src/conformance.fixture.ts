import { startBroker, type BrokerName, type RunningBroker } from "@waybill/brokers";
import type { ConformanceTarget, Json, TargetStore } from "@waybill/conformance";
import type { Transport } from "@waybill/core";
import { Client, escapeIdentifier } from "pg";
import { postgresStore } from "./store.ts";
import type { PostgresTx } from "./tx.ts";

/** What another process needs to open the same store. */
export interface StoreAt {
  readonly url: string;
  readonly schema: string;
}

/** A schema of its own: what other runs left behind is not in it. */
export interface FreshStore extends AsyncDisposable {
  readonly at: StoreAt;
}

let server: Promise<RunningBroker> | undefined;
let users = 0;
let schemas = 0;

/** One server for all schemas of this process; it ends with the last of them. */
export async function freshStore(): Promise<FreshStore> {
  users += 1;
  schemas += 1;
  const schema = `conformance ${process.pid}.${schemas} "x"`;
  server ??= startBroker("postgres", { settings: { max_connections: "300" } });
  const { url } = await server;
  return {
    at: { url, schema },
    async [Symbol.asyncDispose]() {
      users -= 1;
      const running = await server;
      if (users > 0) return;
      server = undefined;
      await running?.[Symbol.asyncDispose]();
    },
  };
}

export function storeAt(connection: Json): StoreAt {
  const { url, schema } = connection as { readonly url: Json; readonly schema: Json };
  if (typeof url !== "string" || typeof schema !== "string") throw new Error("a connection holds url and schema of the store");
  return { url, schema };
}

/** A store with a table of effects beside its own. */
export function conformanceStore({ url, schema }: StoreAt): TargetStore {
  const store = postgresStore({ connectionString: url, schema, maxConnections: 5 });
  const table = `${escapeIdentifier(schema)}.effects`;

  /** Beside the store: what is there is asked for while its own connections are in use. */
  async function rowsOf(text: string): Promise<Record<string, unknown>[]> {
    const client = new Client({ connectionString: url });
    try {
      await client.connect();
      return (await client.query<Record<string, unknown>>(text)).rows;
    } finally {
      await client.end();
    }
  }

  return {
    store,
    async prepare() {
      await store.open({ signal: AbortSignal.timeout(30_000) });
      // Several processes at once: "if not exists" alone is not safe against that.
      const make = `create table if not exists ${table} (grp text not null, id text not null)`;
      await rowsOf(`select pg_advisory_xact_lock(42); ${make}`);
    },
    async apply(tx, group, id) {
      await (tx as PostgresTx).query(`insert into ${table} values ($1, $2)`, [group, id]);
    },
    async effects() {
      const rows = await rowsOf(`select grp, id from ${table}`);
      return rows.map((row) => ({ group: String(row["grp"]), id: String(row["id"]) }));
    },
    close: () => store.close(),
  };
}

/** A real broker beside the store; a killed process is a real one. */
export function besideBroker(name: string, brokerName: BrokerName, transport: (url: string) => Transport): ConformanceTarget {
  let broker: Promise<RunningBroker> | undefined;
  let brokerUsers = 0;
  const parts = (connection: Json): { readonly store: StoreAt; readonly broker: string } => {
    const { broker } = connection as { readonly broker: Json };
    if (typeof broker !== "string") throw new Error("a connection holds the address of the broker");
    return { store: storeAt(connection), broker };
  };
  return {
    name,
    processes: true,
    async start() {
      brokerUsers += 1;
      broker ??= startBroker(brokerName);
      const { url, version, mine } = await broker;
      const fresh = await freshStore();
      return {
        connection: { ...fresh.at, broker: url },
        version,
        borrowed: !mine,
        faults: {},
        async [Symbol.asyncDispose]() {
          await fresh[Symbol.asyncDispose]();
          brokerUsers -= 1;
          if (brokerUsers > 0) return;
          const running = await broker;
          broker = undefined;
          await running?.[Symbol.asyncDispose]();
        },
      };
    },
    open: (connection) => transport(parts(connection).broker),
    store: (connection) => conformanceStore(parts(connection).store),
  };
}
