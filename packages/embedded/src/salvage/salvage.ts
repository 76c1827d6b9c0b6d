import { constants, copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { assertOptions, type SpecFor, WaybillError } from "@waybill/core";
import { wrap } from "../errors.ts";
import { type Connection, connectFile, type Row, troubleOf } from "../sql/connection.ts";
import { failed } from "../sql/failure.ts";
import { openFile } from "../sql/open.ts";
import { isSound, streamSeed } from "../sql/record.ts";
import { closeRun } from "../sql/runs.ts";
import { applicationId, formatVersion } from "../sql/schema.ts";
import { rowsOfPages } from "./pages.ts";
import { messageRows, readTable } from "./tolerant.ts";

export interface SalvageOptions {
  /** The damaged file; it is not changed. Nobody may have it open. */
  readonly from: string;
  /** The new file. It must not exist. */
  readonly to: string;
}

export interface Lost {
  readonly position: number;
  /** Undefined: not even that is known. */
  readonly topic: string | undefined;
  readonly reason: "checksum" | "missing" | "page";
}

export interface SalvageReport {
  /** Messages that were sound. */
  readonly copied: number;
  readonly lost: readonly Lost[];
  /** Tables of which rows may be missing: the groups' places, or tables of the handlers. */
  readonly damagedTables: readonly string[];
}

const spec: SpecFor<SalvageOptions> = {
  from: { type: "string", minLength: 1, required: true },
  to: { type: "string", minLength: 1, required: true },
};

interface Place {
  readonly seed: number;
  readonly topic: string;
}

/**
 * Copies every sound message, the groups' places and the handlers' tables to a new file, and lists the positions that are lost.
 * @throws `CONFIG`, `CORRUPT` (not even the list of tables can be read), `FILE_VERSION`, `DISK_FULL`.
 */
export async function salvage(options: SalvageOptions): Promise<SalvageReport> {
  assertOptions(options, spec, "salvage");
  const from = resolve(options.from);
  const to = resolve(options.to);
  if (!existsSync(from)) throw new WaybillError("CONFIG", `salvage.from: ${from} does not exist`);
  if (existsSync(to)) throw new WaybillError("CONFIG", `salvage.to: ${to} exists already`);
  let directory: string | undefined;
  try {
    // Opening a file replays its log into it; the damaged one stays as it is for a second try.
    directory = mkdtempSync(join(dirname(to), ".waybill-salvage-"));
    const copy = join(directory, "copy.db");
    copyFileSync(from, copy, constants.COPYFILE_EXCL);
    if (existsSync(`${from}-wal`)) copyFileSync(`${from}-wal`, `${copy}-wal`);
    return await copySound(copy, to, from);
  } catch (error) {
    throw wrap(error, false);
  } finally {
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  }
}

async function copySound(copy: string, to: string, name: string): Promise<SalvageReport> {
  const source = connectFile(copy);
  try {
    const format = identify(source, name);
    const target = openFile(to, { maxFileBytes: undefined, checkpointPages: 1000, lockTimeoutMs: 10_000 });
    try {
      const report = await transfer(source, target, copy, format);
      target.exec("pragma wal_checkpoint(truncate)");
      return report;
    } finally {
      target.close();
    }
  } finally {
    source.close();
  }
}

/** The format of the file. */
function identify(source: Connection, name: string): number {
  let id: number;
  try {
    source.exec("pragma wal_checkpoint(truncate)");
    id = Number(source.one("pragma application_id")?.[0]);
    source.all("select name from sqlite_master");
  } catch (error) {
    if (troubleOf(error) === undefined) throw error;
    throw failed({ code: "CORRUPT", text: `${name}: the first page is destroyed`, remedy: "restore the file from a copy" });
  }
  if (id !== applicationId) throw failed({ code: "CONFIG", text: `salvage.from: ${name} is no Waybill file` });
  const version = Number(source.one("pragma user_version")?.[0]);
  if (version > formatVersion)
    throw failed({ code: "FILE_VERSION", text: `${name} has format ${version}; this version reads up to ${formatVersion}` });
  return version;
}

/** Made anew, or of no use without the processes that wrote them. */
const skipped = new Set(["waybill_messages", "waybill_members", "waybill_consumers", "waybill_inboxes", "waybill_quarantine"]);

async function transfer(source: Connection, target: Connection, copy: string, format: number): Promise<SalvageReport> {
  const damaged: string[] = [];
  target.exec("begin immediate");
  copyTables(source, target, damaged);
  // What a dead process had in hand is anybody's at once.
  target.exec(
    "update waybill_leases set expires = 0; update waybill_parked set owner = null, sub = null, lease = null, due = 0 where owner is not null",
  );
  target.exec("update waybill_groups set holder = null, hold_until = null");
  // Until then all runs were in their table.
  if (format < 2) target.exec("update waybill_streams set run_first = next");
  // No run goes on growing: what is missing is written down beside them.
  for (const [stream] of target.all("select id from waybill_streams where id > 0")) closeRun(target, Number(stream));
  const places = placesOf(target);
  const expected = expectedSeqs(target);
  const copied = new Set<number>();
  const lost = new Map<number, Lost["reason"]>();
  const insert = target.prepare("insert or ignore into waybill_messages values (?, ?, ?, ?)");
  const accept = (seq: number, stream: number, offset: number, record: Uint8Array): boolean => {
    const place = places.get(stream);
    if (place === undefined || !isSound(record, place.seed, seq, offset)) return false;
    insert.run(seq, stream, offset, record);
    copied.add(seq);
    return true;
  };
  const last = lastSeq(source, target);
  for (let seq = 1; seq <= last; seq += 1000) {
    for (const part of messageRows(source, seq, Math.min(last, seq + 999))) {
      if ("broken" in part) lost.set(part.broken, "page");
      else {
        for (const row of part.rows) {
          const sound = row[3] instanceof Uint8Array && accept(Number(row[0]), Number(row[1]), Number(row[2]), row[3]);
          if (!sound) lost.set(Number(row[0]), "checksum");
        }
      }
    }
    await new Promise((resume) => setImmediate(resume));
  }
  for (const seq of expected.keys()) if (!copied.has(seq) && !lost.has(seq)) lost.set(seq, "missing");
  if (lost.size > 0) {
    for (const row of rowsOfPages(copy)) {
      // Only what is missed: retention leaves stale rows behind.
      if (lost.has(row.seq) && accept(row.seq, row.stream, row.offset, row.record)) lost.delete(row.seq);
    }
  }
  // Broken pages hide whole stretches that never held a message.
  for (const [seq, reason] of lost) if (reason === "page" && expected.size > 0 && !expected.has(seq)) lost.delete(seq);
  completeRuns(target, copied);
  target.exec("commit");
  const list = [...lost].sort((a, b) => a[0] - b[0]);
  return {
    copied: copied.size,
    lost: list.map(([position, reason]) => ({ position, reason, topic: places.get(expected.get(position) ?? -1)?.topic })),
    damagedTables: damaged,
  };
}

function copyTables(source: Connection, target: Connection, damaged: string[]): void {
  const objects = source.all("select type, name, sql from sqlite_master where sql is not null and name not like 'sqlite_%'");
  for (const [type, tableName, sql] of objects) {
    const table = String(tableName);
    if (type !== "table" || skipped.has(table)) continue;
    const own = table.startsWith("waybill_");
    if (!own) target.exec(String(sql));
    const { columns, rows, whole } = readTable(source, table);
    if (!whole) damaged.push(table);
    const names = columns.map((column) => `"${column.replaceAll('"', '""')}"`).join(", ");
    const insert = target.db.prepare(
      `insert or replace into "${table.replaceAll('"', '""')}" (${names}) values (${columns.map(() => "?").join(", ")})`,
    );
    for (const row of rows) insert.run(...row);
  }
  for (const [type, objectName, sql] of objects) {
    if (type !== "table" && !String(objectName).startsWith("waybill_")) target.exec(String(sql));
  }
}

function placesOf(target: Connection): ReadonlyMap<number, Place> {
  const rows = target.all(
    `select s.id, t.name, coalesce(g.name, ''), s.priority from waybill_streams s
     join waybill_topics t on t.id = s.topic left join waybill_groups g on g.id = s.grp`,
  );
  return new Map(
    rows.map((row) => [Number(row[0]), { topic: String(row[1]), seed: streamSeed(String(row[1]), String(row[2]), Number(row[3])) }]),
  );
}

/** Positions that were stored and not deleted since, with their stream, as the runs tell. */
function expectedSeqs(target: Connection): ReadonlyMap<number, number> {
  const expected = new Map<number, number>();
  for (const [stream, seq, count] of target.all("select stream, seq, count from waybill_runs")) {
    for (let i = 0; i < Number(count); i++) expected.set(Number(seq) + i, Number(stream));
  }
  return expected;
}

function lastSeq(source: Connection, target: Connection): number {
  const told = Number(target.one("select next from waybill_streams where id = 0")?.[0] ?? 1) - 1;
  const inRuns = Number(target.one("select max(seq + count) from waybill_runs")?.[0] ?? 1) - 1;
  let stored = 0;
  try {
    stored = Number(source.one("select max(seq) from waybill_messages")?.[0] ?? 0);
  } catch (error) {
    if (troubleOf(error) !== "corrupt") throw error;
  }
  return Math.max(told, inRuns, stored);
}

/** Where runs were lost, the messages themselves say where they belong; and no number is given twice. */
function completeRuns(target: Connection, copied: ReadonlySet<number>): void {
  const covered = expectedSeqs(target);
  const missing: Row[] = [];
  for (const seq of copied) {
    if (!covered.has(seq)) missing.push(target.one("select stream, offset, seq, length(record) from waybill_messages where seq = ?", seq)!);
  }
  for (const [stream, offset, seq, bytes] of missing) {
    target.run("insert or ignore into waybill_runs values (?, ?, ?, 1, 0, ?, ?, 1)", stream!, offset!, seq!, Date.now(), bytes!);
  }
  target.exec(
    `update waybill_streams set next = max(next, coalesce((select max(first + count) from waybill_runs r where r.stream = waybill_streams.id), 0));
     update waybill_streams set run_first = next where id > 0;
     update waybill_streams set next = max(next, coalesce((select max(seq) + 1 from waybill_messages), 1)) where id = 0;`,
  );
}
