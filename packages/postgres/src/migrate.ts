import { WaybillError } from "@waybill/core";
import { escapeIdentifier, type PoolClient } from "pg";
import { abandon, graceMs, within, type Connections } from "./connections.ts";
import { sqlState, toError } from "./errors.ts";
import type { Settings } from "./options.ts";
import { lockKey, postgresMigrations, schemaVersion } from "./schema.ts";

/**
 * Brings the schema to this version, under a lock: processes that start together do it once. Looks first, so that a role
 * that may not create anything can use tables that are there.
 */
export async function migrate(connections: Connections, settings: Settings, signal: AbortSignal): Promise<void> {
  const client = await connections.take(signal);
  const onAbort = (): void => left.reject(new WaybillError("ABORTED", "open: the signal fired"));
  const left = Promise.withResolvers<never>();
  left.promise.catch(() => undefined);
  signal.addEventListener("abort", onAbort, { once: true });
  let done = false;
  try {
    const work = bring(client, settings);
    work.catch(() => undefined);
    await Promise.race([work, left.promise]);
    done = true;
  } catch (error) {
    throw toError(error, `open (schema "${settings.schema}")`);
  } finally {
    signal.removeEventListener("abort", onAbort);
    if (done) client.release();
    else abandon(client);
  }
}

async function bring(client: PoolClient, settings: Settings): Promise<void> {
  const { schema, statementTimeoutMs, lockTimeoutMs } = settings;
  const run = (text: string): Promise<unknown> => within(client.query(text), statementTimeoutMs + graceMs);
  if (isCurrent(await versionOf(client, schema), schema)) return;
  if (settings.migrate === "check") {
    throw new WaybillError("CONFIG", `the tables of schema "${schema}" are not those of version ${schemaVersion}, and migrate is "check"`, {
      remedy: 'run the SQL of postgresMigrations({ schema }), correct the option schema, or set migrate: "apply"',
    });
  }
  await run(`begin; set local statement_timeout = ${statementTimeoutMs}; set local lock_timeout = ${lockTimeoutMs}`);
  try {
    await run(`select pg_advisory_xact_lock(${lockKey(schema, "migrate")})`);
    // Another process may have done it while this one waited.
    const from = await versionOf(client, schema);
    if (!isCurrent(from, schema)) {
      for (const { version, sql } of postgresMigrations({ schema })) {
        const exists = version === 0 && from !== undefined;
        if (version > (from ?? -1) && !exists) await run(sql);
      }
    }
    await run("commit");
  } catch (error) {
    await run("rollback").catch(() => undefined);
    throw sqlState(error) === "42501" ? mayNotCreate(schema, error) : error;
  }
}

/** Undefined: there is no such table. Asks the catalog: a name that was looked up before is not looked up again within a transaction. */
async function versionOf(client: PoolClient, schema: string): Promise<number | undefined> {
  const find = "select 1 from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace";
  const { rowCount } = await client.query(`${find} where n.nspname = $1 and c.relname = 'migrations'`, [schema]);
  if (rowCount === 0) return undefined;
  const { rows } = await client.query<{ version: string | null }>(
    `select max(version)::text as version from ${escapeIdentifier(schema)}.migrations`,
  );
  return Number(rows[0]?.version ?? 0);
}

function isCurrent(version: number | undefined, schema: string): boolean {
  if (version !== undefined && version > schemaVersion) {
    throw new WaybillError("FILE_VERSION", `schema "${schema}" is at version ${version}; this process knows up to ${schemaVersion}`, {
      remedy: "upgrade @waybill/postgres in this process",
    });
  }
  return version === schemaVersion;
}

function mayNotCreate(schema: string, cause: unknown): WaybillError {
  return new WaybillError("AUTH", `this role may not create the tables of schema "${schema}" (42501)`, {
    cause,
    remedy: "grant create on the database (or on the schema) to it, or run the SQL of postgresMigrations({ schema }) as a role that may",
  });
}
