import { createHash } from "node:crypto";
import { escapeIdentifier } from "pg";
import { checkSchema } from "./options.ts";

export interface Migration {
  readonly version: number;
  readonly name: string;
  /** Several statements; may run inside a transaction. */
  readonly sql: string;
}

/** What this version of the store reads and writes. */
export const schemaVersion = 1;

/**
 * The tables as plain SQL, oldest first, for a migration tool of your own. Each records itself in `<schema>.migrations`, so
 * that `open` with `migrate: "check"` finds it. The schema itself comes first, in `version` 0.
 */
export function postgresMigrations(options: { readonly schema?: string } = {}): readonly Migration[] {
  const schema = options.schema ?? "waybill";
  checkSchema(schema);
  const s = escapeIdentifier(schema);
  const note = (version: number, name: string): string => `insert into ${s}.migrations (version, name) values (${version}, '${name}');\n`;
  return [
    {
      version: 0,
      name: "schema",
      sql: `create schema if not exists ${s};
create table if not exists ${s}.migrations (
  version integer primary key,
  name text not null,
  applied_at timestamptz not null default now()
);
`,
    },
    {
      version: 1,
      name: "inbox_and_outbox",
      // Leases change rows in place; what was sent is deleted: such a table is vacuumed early.
      sql: `create table ${s}.inbox (
  scope text not null,
  id text not null,
  applied_at timestamptz not null default now(),
  primary key (scope, id)
);
create index inbox_applied_at on ${s}.inbox (applied_at);
create table ${s}.outbox (
  id bigint generated always as identity primary key,
  order_key text,
  owner text,
  leased_until timestamptz,
  enqueued_at timestamptz not null default now(),
  topic text not null,
  message json not null,
  body bytea
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
create index outbox_held on ${s}.outbox (id) where owner is not null;
${note(1, "inbox_and_outbox")}`,
    },
  ];
}

/** A number for an advisory lock, of this schema and purpose. */
export function lockKey(schema: string, purpose: string): string {
  return createHash("sha256").update(`waybill\0${purpose}\0${schema}`).digest().readBigInt64BE(0).toString();
}

/** Channels are shared by the whole database, and their names are short. */
export function channelOf(schema: string): string {
  return `waybill_${createHash("sha256").update(schema).digest("hex").slice(0, 24)}`;
}
