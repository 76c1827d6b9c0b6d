import { type Catalog, openCatalog } from "../sql/catalog.ts";
import { openClock, type StoreClock } from "../sql/clock.ts";
import { type Connection, troubleOf } from "../sql/connection.ts";
import { failed } from "../sql/failure.ts";
import { joinMembers } from "../sql/members.ts";
import { openFile } from "../sql/open.ts";
import { type Repeats, watchRepeats } from "../sql/repeats.ts";
import type { Settling } from "../sql/settle.ts";
import { sleepMs } from "../sql/sleep.ts";
import { joinTurns, type Turns } from "../turns.ts";
import type { WorkerSettings } from "./protocol.ts";

/** One opening of the file by the worker. After an I/O error it is thrown away, and another one opened. */
export interface Session {
  readonly connection: Connection;
  readonly catalog: Catalog;
  readonly clock: StoreClock;
  /** Undefined: repeats are not looked for. */
  readonly repeats: Repeats | undefined;
  readonly settling: Settling;
  owner: number;
  /** Whether another process (or transport) uses the file: then we pause after each commit, so that it gets its turn. */
  crowded: boolean;
  /** Whether the last transaction got as far as its commit. */
  atCommit: boolean;
  /** Runs it in a write transaction. Throws what it threw, or what SQLite said; then nothing of it happened, but see `failureOf`. */
  write<T>(run: () => T): T;
  /** True if another connection committed since the last call. */
  changed(): boolean;
  /** Ids of leases: the member, which incarnation of its worker, and a count. */
  nextLease(): number;
  close(): void;
}

const pauseMs = 0.1;
/** Who has not committed for so long gets the lock between two of ours; from then on we pause. */
const foreignMs = 500;

/** Goes on over the sessions of one worker. */
export interface LeaseCount {
  next: number;
}

export function openSession(
  settings: WorkerSettings,
  ordered: ReadonlySet<number>,
  member: number | undefined,
  leases: LeaseCount,
): Session {
  const turns = joinTurns(settings.turns, settings.place);
  const connection = openFile(settings.path, {
    maxFileBytes: settings.maxFileBytes,
    checkpointPages: 1000,
    lockTimeoutMs: settings.lockTimeoutMs,
  });
  try {
    const catalog = openCatalog(connection);
    let version = -1;
    let foreignAt = 0;
    const clock = transact(connection, turns, settings.lockTimeoutMs, () => openClock(connection));
    const { deduplicationMs: windowMs, deduplicationMessages: maxMessages } = settings;
    const repeats = windowMs === 0 ? undefined : watchRepeats({ connection, clock, windowMs, maxMessages });
    const session: Session = {
      connection,
      catalog,
      clock,
      repeats,
      owner: 0,
      crowded: false,
      atCommit: false,
      settling: {
        connection,
        catalog,
        clock,
        get owner() {
          return session.owner;
        },
        isOrdered: (group) => ordered.has(group),
      },
      write(run) {
        try {
          session.atCommit = false;
          const result = transact(connection, turns, settings.lockTimeoutMs, run, () => {
            session.atCommit = true;
          });
          repeats?.committed();
          return result;
        } catch (error) {
          repeats?.rolledBack();
          catalog.forget();
          throw error;
        } finally {
          if (session.crowded && performance.now() - foreignAt < foreignMs) sleepMs(pauseMs);
        }
      },
      changed() {
        const now = Number(connection.one("pragma data_version")![0]);
        const differs = now !== version;
        version = now;
        if (differs) foreignAt = performance.now();
        return differs;
      },
      nextLease: () => session.owner * 0x1_0000_0000 + leases.next++,
      close: () => connection.close(),
    };
    session.owner = session.write(() => rejoin(session, member));
    return session;
  } catch (error) {
    connection.close();
    throw error;
  }
}

function rejoin(session: Session, member: number | undefined): number {
  if (member !== undefined && session.connection.one("select 1 from waybill_members where id = ?", member) !== undefined) return member;
  return joinMembers(session.settling);
}

/** SQLite's own waiting starves: measured, one of two processes got 0.2 % of the commits. This is 0.1 ms at a time. */
function transact<T>(connection: Connection, turns: Turns, timeoutMs: number, run: () => T, committing?: () => void): T {
  const until = performance.now() + timeoutMs;
  if (!turns.take(timeoutMs)) throw busy();
  try {
    for (;;) {
      try {
        connection.prepare("begin immediate").run();
        break;
      } catch (error) {
        if (troubleOf(error) !== "busy") throw error;
        if (performance.now() > until) throw busy();
        sleepMs(0.1);
      }
    }
    try {
      const result = run();
      committing?.();
      connection.prepare("commit").run();
      return result;
    } catch (error) {
      try {
        if (connection.db.isTransaction) connection.prepare("rollback").run();
      } catch {
        // The first error says more; the session is thrown away if it was of the disk.
      }
      throw error;
    }
  } finally {
    turns.give();
  }
}

function busy(): Error {
  return failed({ code: "BUSY", text: "the write lock of the embedded file was held by others for too long", certainty: "definite" });
}
