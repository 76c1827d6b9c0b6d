import type { Connection } from "./connection.ts";

/** "Wayb": tells our files from other SQLite databases. */
export const applicationId = 0x57617962;
/** Stands in `pragma user_version`. Raise it with every change that an older version could not read. */
export const formatVersion = 2;

/** The row of `waybill_streams` that holds the next seq: on the page that every publish writes anyway. */
export const seqRow: number = 0;

/**
 * A stream is a topic's part for one group (0: for all of them) and one priority; offsets in it are dense.
 * `runs` say which stretch of `messages`, the one append-only table, a stretch of offsets is; the newest of a stream, which still
 * grows, is in the stream's own row (`run_first` up to `next`), since each publish writes that page anyway. `leases` hold a stretch that is
 * in hand, with a bit for each message that is done; `parked` has a row only for messages that are exceptions: delayed,
 * retried, released, or waiting behind such a one of their key. Leases have no index: there are few
 * of them, and every fetch would write its pages. Times are store time (see clock.ts).
 */
export const schema: string = `
create table waybill_meta (name text primary key, value) without rowid;
create table waybill_topics (id integer primary key autoincrement, name text not null unique);
create table waybill_streams (
  id integer primary key autoincrement, topic integer not null, grp integer not null, priority integer not null,
  next integer not null, run_first integer not null default 0, run_seq integer not null default 0, run_at real not null default 0,
  run_stored real not null default 0, run_bytes integer not null default 0, run_timed integer not null default 0,
  unique (topic, grp, priority));
create table waybill_messages (seq integer primary key, stream integer not null, offset integer not null, record blob not null);
create table waybill_timed (seq integer primary key, due real, expires real);
create table waybill_runs (
  stream integer not null, first integer not null, seq integer not null, count integer not null,
  at real not null, stored real not null, bytes integer not null, timed integer not null, primary key (stream, first)) without rowid;
create table waybill_groups (
  id integer primary key autoincrement, topic integer not null, name text not null, holder integer, hold_until real, unique (topic, name));
create table waybill_cursors (grp integer not null, stream integer not null, next integer not null, primary key (grp, stream)) without rowid;
create index waybill_cursors_stream on waybill_cursors (stream);
create table waybill_leases (
  id integer primary key, grp integer not null, stream integer not null, first integer not null, count integer not null,
  unfinished integer not null, done blob not null, owner integer not null, sub integer not null, expires real not null);
create table waybill_parked (
  grp integer not null, seq integer not null, attempt integer not null, due real, key text,
  owner integer, sub integer, lease integer, primary key (grp, seq)) without rowid;
create index waybill_parked_due on waybill_parked (grp, due);
create index waybill_parked_seq on waybill_parked (seq);
create index waybill_parked_owner on waybill_parked (owner) where owner is not null;
create table waybill_removed (grp integer not null, stream integer not null, offset integer not null, primary key (grp, stream, offset)) without rowid;
create table waybill_notes (grp integer not null, seq integer not null, note text not null, primary key (grp, seq)) without rowid;
create table waybill_patterns (pattern text not null, name text not null, primary key (pattern, name)) without rowid;
create table waybill_inboxes (topic text primary key, owner integer not null) without rowid;
create table waybill_members (
  id integer primary key autoincrement, pid integer not null, started text not null, boot text not null, space text not null, seen real not null);
create table waybill_consumers (owner integer not null, sub integer not null, grp integer not null, primary key (owner, sub, grp)) without rowid;
create index waybill_consumers_group on waybill_consumers (grp);
create table waybill_recent (first integer primary key, at real not null, hashes blob not null);
create table waybill_quarantine (seq integer primary key, stream integer not null, offset integer not null, reason text not null, at real not null);
create table waybill_inbox (grp text not null, id text not null, at real not null, primary key (grp, id)) without rowid;
create table waybill_outbox (
  row integer primary key autoincrement, key text, record blob not null, owner text, until real, at real not null);
create index waybill_outbox_key on waybill_outbox (key, row) where key is not null;
insert into waybill_streams (id, topic, grp, priority, next) values (0, 0, 0, -1, 1);
insert into waybill_meta (name, value) values ('clock_boot', ''), ('clock_offset', 0), ('clock_last', 0);
pragma application_id = ${applicationId};
pragma user_version = ${formatVersion};
`;

/** In a transaction. */
export function createSchema(connection: Connection): void {
  connection.exec(schema);
}

/** In a transaction: what a file of format n lacks for n + 1, by n. */
const steps: Readonly<Record<number, string>> = {
  1: `${["first", "seq", "bytes", "timed"].map((name) => `alter table waybill_streams add column run_${name} integer not null default 0;`).join("\n")}
alter table waybill_streams add column run_at real not null default 0;
alter table waybill_streams add column run_stored real not null default 0;
update waybill_streams set run_first = next;
drop index waybill_inbox_at;`,
};

/** In a transaction. Processes of the older version must have closed the file. */
export function migrateSchema(connection: Connection, from: number): void {
  for (let format = from; format < formatVersion; format++) connection.exec(steps[format]!);
  if (from < formatVersion) connection.exec(`pragma user_version = ${formatVersion}`);
}
