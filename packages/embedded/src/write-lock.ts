import { WaybillError } from "@waybill/core";
import { createLedger, type Ledger } from "./deferred.ts";
import type { Place } from "./file.ts";
import type { Settings } from "./options.ts";
import { openCatalog, type Catalog } from "./sql/catalog.ts";
import { openClock, type StoreClock } from "./sql/clock.ts";
import { type Connection, troubleOf } from "./sql/connection.ts";
import { openFile } from "./sql/open.ts";
import { joinTurns } from "./turns.ts";
import type { SyncSql } from "./tx.ts";
import { openUserSql } from "./user-sql.ts";

/** The user thread's connection, open. */
export interface Opened {
  readonly connection: Connection;
  readonly catalog: Catalog;
  readonly clock: StoreClock;
  readonly sql: SyncSql;
  /** Of the transaction that is open. */
  readonly ledger: Ledger;
}

/** The file's write lock on the user's thread. */
export interface WriteLock {
  /** Opens the file where that is needed, and begins a transaction. @throws `BUSY` */
  take(): Promise<Opened>;
  /** The transaction has ended. */
  give(): void;
  /** Closes the connection; the next `take` opens another one. */
  close(): void;
}

export function createWriteLock(path: string, settings: Settings, place: Place): WriteLock {
  const turns = joinTurns(place.turns, place.user);
  let opened: Opened | undefined;

  function open(): Opened {
    if (opened !== undefined) return opened;
    const connection = openFile(path, { maxFileBytes: settings.maxFileBytes, checkpointPages: 0, lockTimeoutMs: settings.lockTimeoutMs });
    try {
      const sql = openUserSql(connection);
      // The worker has set the clock by now; this reads it.
      connection.exec("begin immediate");
      const clock = openClock(connection);
      connection.exec("commit");
      opened = { connection, catalog: openCatalog(connection), clock, sql, ledger: createLedger() };
      return opened;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  async function take(): Promise<Opened> {
    const until = performance.now() + settings.lockTimeoutMs;
    if (!(await turns.takeAsync(settings.lockTimeoutMs))) throw busy();
    try {
      for (;;) {
        try {
          const on = open();
          on.connection.prepare("begin immediate").run();
          on.ledger.reset();
          return on;
        } catch (error) {
          if (troubleOf(error) !== "busy") throw error;
          if (performance.now() > until) throw busy();
          await new Promise((resolve) => setImmediate(resolve));
        }
      }
    } catch (error) {
      turns.give();
      throw error;
    }
  }

  return {
    take,
    give: () => turns.give(),
    close() {
      opened?.connection.close();
      opened = undefined;
    },
  };
}

function busy(): WaybillError {
  return new WaybillError("BUSY", "the write lock of the embedded file was held by others for too long");
}
