import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { gunzipSync } from "node:zlib";
import type { Broker, Json } from "@waybill/conformance";
import { goldenMessages } from "./golden/golden.fixture.ts";
import { crash } from "./transport.ts";
import { salvage } from "./salvage/salvage.ts";
import { applicationId, formatVersion } from "./sql/schema.ts";

let commitFails: "before" | "after" | undefined;
export function commitFault(): "before" | "after" | undefined {
  return commitFails;
}

let hold: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;
export function heldAnswers(): Promise<void> | undefined {
  return hold?.promise;
}

export function fixturePath(connection: Json): string {
  if (typeof connection !== "string") throw new Error("a connection is the path of the file");
  return connection;
}

/** A "broker" of the embedded transport is a file in a directory of its own: fresh, or what `prepare` puts there. */
export async function conformanceBroker(maxFileBytes: number, prepare?: (path: string) => Promise<void> | void): Promise<Broker> {
  const directory = mkdtempSync(join(tmpdir(), "waybill-conformance-"));
  const path = join(directory, "waybill.db");
  await prepare?.(path);
  let blocker: DatabaseSync | undefined;
  return {
    connection: path,
    faults: {
      block() {
        blocker = new DatabaseSync(path, { timeout: 5000 });
        blocker.exec("begin immediate");
      },
      holdConfirms() {
        hold = Promise.withResolvers<void>();
      },
      crash,
      unblock() {
        hold?.resolve();
        hold = undefined;
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
      async salvage() {
        let lost = 0;
        const broker = await conformanceBroker(maxFileBytes, async (to) => {
          lost = (await salvage({ from: path, to })).lost.length;
        });
        return { broker, lost };
      },
      afterPowerLoss: (random, states) => powerLosses(path, maxFileBytes, random, states),
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
  for (let bytes = 16 * 1024 * 1024; bytes >= 256;) {
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
  let at = bytes.indexOf(marker);
  if (at < 0) throw new Error("no stored message has the marker");
  // Everywhere: a page may still have a stale copy of what was moved to another one.
  for (; at >= 0; at = bytes.indexOf(marker)) for (let i = 0; i < marker.length; i++) bytes[at + i]! ^= 0x15;
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

/** Copies of the file as it may be after the power went: the log cut off anywhere, its last bytes as they happened to be. */
async function* powerLosses(
  path: string,
  maxFileBytes: number,
  random: () => number,
  states: number,
): AsyncGenerator<{ readonly broker: Broker; readonly whole: boolean }, void, undefined> {
  const log = readFileSync(`${path}-wal`);
  for (let state = 0; state < states; state++) {
    const end = state === 0 ? log.length : Math.floor(random() * log.length);
    const torn = Math.min(end, state === 0 ? 0 : Math.floor(random() * 600));
    const broker = await conformanceBroker(maxFileBytes, (copy) => {
      copyFileSync(path, copy);
      if (!existsSync(`${path}-wal`)) return;
      const left = Buffer.from(log.subarray(0, end));
      for (let at = end - torn; at < end; at++) left[at] = Math.floor(random() * 256);
      writeFileSync(`${copy}-wal`, left);
    });
    yield { broker, whole: state === 0 };
  }
}

/** What a group that is new to it finds in `olderFile`. */
export const inOlderFile: { readonly topic: string; readonly ids: readonly string[] } = {
  topic: "orders.placed",
  ids: goldenMessages.filter(({ topic, group }) => topic === "orders.placed" && group === undefined).map(({ id }) => id),
};

/** A file that the first format was written in. */
export function olderFile(path: string): void {
  writeFileSync(path, gunzipSync(readFileSync(new URL("./golden/format-1.db.gz", import.meta.url))));
}

/** A file that says it was written by a newer version. */
export function newerFile(path: string): void {
  const db = new DatabaseSync(path);
  db.exec(`pragma application_id = ${applicationId}; pragma user_version = ${formatVersion + 1}; create table newer (a)`);
  db.close();
}
