import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Broker, Json } from "@waybill/conformance";

let commitFails: "before" | "after" | undefined;
export function commitFault(): "before" | "after" | undefined {
  return commitFails;
}

export function fixturePath(connection: Json): string {
  return String(connection);
}

/** A "broker" of the embedded transport is a fresh file in a directory of its own. */
export async function conformanceBroker(maxFileBytes: number): Promise<Broker> {
  const directory = mkdtempSync(join(tmpdir(), "waybill-conformance-"));
  const path = join(directory, "waybill.db");
  let blocker: DatabaseSync | undefined;
  return {
    connection: path,
    faults: {
      block() {
        blocker = new DatabaseSync(path, { timeout: 5000 });
        blocker.exec("begin immediate");
      },
      unblock() {
        blocker?.close();
        blocker = undefined;
      },
      fillDisk: async () => fill(path, maxFileBytes),
      corrupt: async (marker) => flip(path, marker),
      failCommit(when) {
        commitFails = when;
        return () => {
          commitFails = undefined;
        };
      },
      holds: async (id) => holds(path, id),
    },
    async [Symbol.asyncDispose]() {
      blocker?.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Grows the file to its bound with a table of no use. */
async function fill(path: string, maxFileBytes: number): Promise<() => Promise<void>> {
  const db = new DatabaseSync(path, { timeout: 10_000 });
  const pageBytes = Number(db.prepare("pragma page_size").get()?.["page_size"]);
  db.exec(`pragma max_page_count = ${Math.floor(maxFileBytes / pageBytes)}; create table if not exists filler (data blob)`);
  for (let bytes = 16 * 1024 * 1024; bytes >= 256; ) {
    try {
      db.prepare("insert into filler values (zeroblob(?))").run(bytes);
    } catch {
      bytes = Math.floor(bytes / 2);
    }
  }
  return async () => {
    db.exec("drop table filler");
    db.close();
  };
}

/** With no other user the log is copied back first, so that there is one place to change. */
function flip(path: string, marker: string): void {
  const db = new DatabaseSync(path);
  db.exec("pragma wal_checkpoint(truncate)");
  db.close();
  const bytes = readFileSync(path);
  const at = bytes.indexOf(marker);
  if (at < 0) throw new Error("no stored message has the marker");
  for (let i = 0; i < marker.length; i++) bytes[at + i]! ^= 0x15;
  writeFileSync(path, bytes);
}

function holds(path: string, id: string): boolean {
  const db = new DatabaseSync(path, { readOnly: true, timeout: 5000 });
  try {
    return db.prepare("select 1 from waybill_messages where instr(record, cast(? as blob)) > 0 limit 1").get(id) !== undefined;
  } finally {
    db.close();
  }
}
