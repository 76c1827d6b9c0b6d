import { closeSync, constants, fsyncSync, lstatSync, openSync, type Stats } from "node:fs";
import { dirname } from "node:path";
import { type Connection, connectFile, troubleOf } from "./connection.ts";
import { failed, failureOf, salvageRemedy } from "./failure.ts";
import { applicationId, createSchema, formatVersion, migrateSchema } from "./schema.ts";
import { sleepMs } from "./sleep.ts";

export interface OpenOptions {
  /** The file may grow to it; beyond, writes are refused as on a full disk. */
  readonly maxFileBytes: number | undefined;
  /** Pages in the write-ahead log before it is copied back; 0: somebody else does it. */
  readonly checkpointPages: number;
  /** How long another process may keep the file locked while it is opened. */
  readonly lockTimeoutMs: number;
}

const pageBytes = 16_384;

/** Opens the file, makes it (mode 0600) if it is missing. Throws a failure: `CONFIG`, `FILE_VERSION`, `CORRUPT`, `DISK_FULL`, `CONNECTION`. */
export function openFile(path: string, options: OpenOptions): Connection {
  makePrivateFile(path);
  let connection: Connection | undefined;
  try {
    connection = connectFile(path);
    prepare(connection, options);
    return connection;
  } catch (error) {
    try {
      connection?.close();
    } catch {
      // The first error says more.
    }
    const trouble = troubleOf(error);
    if (trouble === "not-a-database" || trouble === "corrupt") {
      throw failed({ code: "CORRUPT", text: `${path} is not a sound Waybill file`, remedy: salvageRemedy });
    }
    throw failed(failureOf(error, false));
  }
}

function makePrivateFile(path: string): void {
  const before = look(path);
  if (before !== undefined) {
    if (before.isSymbolicLink()) refuse(path, "is a symbolic link", "give the path of the file itself");
    if (!before.isFile()) refuse(path, "is not a file", "give the path of a file");
    // Under its other name it would get another write-ahead log, and two of them destroy the file.
    if (before.nlink > 1) refuse(path, "has a second name (hard link)", "remove the other name, or copy the file");
    return;
  }
  try {
    // Before the first write, so that it is never readable by others; SQLite gives its -wal and -shm the same mode.
    closeSync(openSync(path, constants.O_CREAT | constants.O_EXCL | constants.O_RDWR | (constants.O_NOFOLLOW ?? 0), 0o600));
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "EEXIST") {
      // Another process was faster.
      if (look(path)?.isFile() === true) return;
      refuse(path, "is not a file", "give the path of a file");
    }
    if (code === "ENOENT" || code === "ENOTDIR") refuse(path, "lies in a directory that does not exist", "make the directory first");
    if (code === "EACCES" || code === "EPERM" || code === "EROFS")
      refuse(path, "may not be written", "check the permissions of its directory");
    if (code === "ENOSPC" || code === "EDQUOT") throw failed({ code: "DISK_FULL", text: "no room for the embedded file" });
    throw failed({ code: "CONNECTION", text: `${path} cannot be made (${String(code)})` });
  }
  syncDirectory(path);
}

function look(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

function refuse(path: string, what: string, remedy: string): never {
  throw failed({ code: "CONFIG", text: `path: ${path} ${what}`, remedy });
}

/** Else the file itself could be gone after a power loss, with all that was confirmed in it. */
function syncDirectory(path: string): void {
  if (process.platform === "win32") return;
  const directory = openSync(dirname(path), constants.O_RDONLY);
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

function prepare(connection: Connection, options: OpenOptions): void {
  const until = performance.now() + options.lockTimeoutMs;
  patiently(until, () => identify(connection));
  patiently(until, () => {
    connection.exec(`pragma page_size = ${pageBytes}`);
    connection.exec("pragma journal_mode = wal");
  });
  connection.exec("pragma synchronous = full");
  connection.exec("pragma fullfsync = on");
  connection.exec("pragma temp_store = memory");
  connection.exec("pragma cache_size = -16384");
  connection.exec("pragma trusted_schema = off");
  connection.exec("pragma cell_size_check = on");
  connection.exec(`pragma wal_autocheckpoint = ${options.checkpointPages}`);
  connection.exec(`pragma journal_size_limit = ${64 * 1024 * 1024}`);
  if (options.maxFileBytes !== undefined) {
    const size = Number(connection.one("pragma page_size")?.[0]);
    connection.exec(`pragma max_page_count = ${Math.max(1, Math.floor(options.maxFileBytes / size))}`);
  }
  patiently(until, () => {
    connection.exec("begin immediate");
    try {
      const format = identify(connection);
      if (format === 0) createSchema(connection);
      else migrateSchema(connection, format);
      connection.exec("commit");
    } catch (error) {
      if (connection.db.isTransaction) connection.exec("rollback");
      throw error;
    }
  });
}

/** The format; 0: the file is empty. */
function identify(connection: Connection): number {
  const id = Number(connection.one("pragma application_id")?.[0]);
  const version = Number(connection.one("pragma user_version")?.[0]);
  if (id === applicationId) {
    if (version > formatVersion) {
      throw failed({
        code: "FILE_VERSION",
        text: `${connection.path} has format ${version}; this version reads up to ${formatVersion}`,
      });
    }
    return version;
  }
  if (Number(connection.one("select count(*) from sqlite_master")?.[0]) === 0 && id === 0) return 0;
  throw failed({
    code: "CONFIG",
    text: `path: ${connection.path} is a database of another program`,
    remedy: "give a path of its own; Waybill makes the file",
  });
}

/** Runs it again while another process holds the lock. */
function patiently(until: number, run: () => void): void {
  for (;;) {
    try {
      run();
      return;
    } catch (error) {
      if (troubleOf(error) !== "busy" || performance.now() > until) throw error;
      sleepMs(1);
    }
  }
}
