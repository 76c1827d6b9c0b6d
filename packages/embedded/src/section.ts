import { WaybillError } from "@waybill/core";
import { applyDeferred, type Deferred } from "./deferred.ts";
import { mustGoOn, toError, wrap } from "./errors.ts";
import type { Place } from "./file.ts";
import type { Settings } from "./options.ts";
import { troubleOf } from "./sql/connection.ts";
import { createWriteLock, type Opened } from "./write-lock.ts";

/** One handler's part of a shared transaction. */
export interface Seat {
  /** Takes the lock, at its first call, and runs. @throws `TX_TOO_LONG`, `BUSY`, `ABORTED`, or what `run` threw. */
  use<T>(run: (on: Opened) => T): Promise<T>;
  /** Resolves when it is on the disk. @throws definite (nothing happened) or `TX_UNKNOWN`. */
  commit(): Promise<void>;
  rollback(): void;
  readonly afterCommit: (() => void)[];
  /** Done at the commit, for all handlers together. */
  readonly deferred: Deferred;
}

/**
 * Transactions of the user's thread. One handler at a time is in the section, in a savepoint of its own; those that are through
 * wait for one commit together. SQLite has one writer: connections of their own would only wait for each other.
 */
export interface Section {
  take(signal: AbortSignal): Seat;
  close(): Promise<void>;
}

export interface SectionOptions {
  readonly path: string;
  readonly settings: Settings;
  readonly place: Place;
  /** After each commit. */
  readonly committed: () => void;
}

type State = "new" | "waiting" | "inside" | "through" | "over";

interface OwnSeat {
  state: State;
  why: WaybillError | undefined;
  entered: { resolve(): void; reject(error: unknown): void } | undefined;
  done: { resolve(): void; reject(error: unknown): void } | undefined;
  readonly afterCommit: (() => void)[];
  readonly deferred: Deferred;
}

const maxSeats = 200;
/** After so long a transaction takes in no other handler: who waits for its commit waits no longer than for one handler. */
const collectMs = 5;

export function openSection({ path, settings, place, committed }: SectionOptions): Section {
  const lock = createWriteLock(path, settings, place);
  const queue: OwnSeat[] = [];
  let through: OwnSeat[] = [];
  let inside: OwnSeat | undefined;
  let left: (() => void) | undefined;
  /** Since the first transaction. */
  let opened: Opened | undefined;
  let began = 0;
  let running: Promise<void> | undefined;
  let closed = false;

  /** Lets the waiting handlers in, one after the other, until none waits. */
  async function run(): Promise<void> {
    while (queue.length > 0) {
      let on: Opened;
      try {
        on = opened = await lock.take();
        began = performance.now();
      } catch (error) {
        const why = wrap(error, false);
        for (const seat of queue.splice(0)) refuse(seat, why);
        return;
      }
      try {
        while (queue.length > 0 && through.length < maxSeats && (through.length === 0 || performance.now() - began < collectMs)) {
          await admit(on, queue.shift()!);
          if (!on.connection.db.isTransaction) break;
          // Handlers that were let go just now may be back in this very turn.
          if (queue.length === 0) await Promise.resolve();
        }
        commit(on);
      } finally {
        lock.give();
      }
      committed();
      // Another process, or the worker, gets its turn.
      if (queue.length > 0) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  function refuse(seat: OwnSeat, why: WaybillError): void {
    seat.state = "over";
    seat.why = why;
    seat.entered?.reject(why);
  }

  async function admit(on: Opened, seat: OwnSeat): Promise<void> {
    if (seat.state !== "waiting") return;
    try {
      on.connection.prepare("savepoint handler").run();
    } catch (error) {
      refuse(seat, wrap(error, false));
      return;
    }
    inside = seat;
    seat.state = "inside";
    const gone = new Promise<void>((resolve) => {
      left = resolve;
    });
    const rest = Math.max(1, settings.transactionLimitMs - (performance.now() - began));
    const timer = setTimeout(() => {
      const text = `the handler held the write lock for more than ${settings.transactionLimitMs} ms`;
      takeBack(seat, new WaybillError("TX_TOO_LONG", text));
    }, rest);
    seat.entered!.resolve();
    await gone;
    clearTimeout(timer);
  }

  function leave(): void {
    inside = undefined;
    left?.();
    left = undefined;
  }

  function takeBack(seat: OwnSeat, why: WaybillError): void {
    if (seat.state === "waiting") queue.splice(queue.indexOf(seat), 1);
    const wasInside = seat.state === "inside";
    seat.state = "over";
    seat.why = why;
    if (!wasInside) return;
    const { connection, catalog, ledger } = opened!;
    ledger.drop(seat.deferred);
    try {
      if (connection.db.isTransaction) connection.exec("rollback to handler; release handler");
    } catch {
      // Then the transaction is gone altogether, and the commit finds out.
    }
    catalog.forget();
    leave();
  }

  function commit(on: Opened): void {
    const seats = through;
    through = [];
    const fault = seats.length > 0 ? settings.faults.commit?.() : undefined;
    try {
      if (!on.connection.db.isTransaction) throw new WaybillError("STORE", "SQLite took back the transaction");
      applyDeferred(
        on,
        seats.map((seat) => seat.deferred),
        settings.maxBodyBytes,
      );
      if (fault === "before") throw new WaybillError("STORE", "the commit was made to fail, without effect");
      on.connection.prepare("commit").run();
    } catch (error) {
      failAll(on, seats, error);
      return;
    }
    if (fault === "after") {
      for (const seat of seats) finish(seat, new WaybillError("TX_UNKNOWN", "the commit was made to take effect and to fail"));
      return;
    }
    for (const seat of seats) finish(seat, undefined);
  }

  function failAll(on: Opened, seats: readonly OwnSeat[], error: unknown): void {
    const trouble = troubleOf(error);
    try {
      if (on.connection.db.isTransaction) on.connection.prepare("rollback").run();
    } catch {
      // The first error says more.
    }
    on.catalog.forget();
    if (trouble === "io" || trouble === "corrupt") {
      // What an I/O error at a commit left behind only another opening of the file can tell.
      lock.close();
      opened = undefined;
    }
    const why = trouble === "io" ? new WaybillError("TX_UNKNOWN", "the disk failed at the commit", { cause: error }) : wrap(error, false);
    for (const seat of seats) finish(seat, why);
  }

  function finish(seat: OwnSeat, why: WaybillError | undefined): void {
    seat.state = "over";
    if (why === undefined) {
      for (const run of seat.afterCommit) run();
      seat.done?.resolve();
    } else {
      seat.why = why;
      seat.done?.reject(why);
    }
  }

  function enter(seat: OwnSeat, signal: AbortSignal): Promise<void> {
    if (closed) throw new WaybillError("CLOSED", "the embedded file is closed");
    mustGoOn(signal, "the transaction");
    seat.state = "waiting";
    const entered = new Promise<void>((resolve, reject) => {
      seat.entered = { resolve, reject };
    });
    queue.push(seat);
    if (running === undefined) keepRunning();
    return entered;
  }

  function keepRunning(): void {
    running = run().finally(() => {
      running = undefined;
      // Somebody came between its last look and its end.
      if (queue.length > 0) keepRunning();
    });
  }

  function take(signal: AbortSignal): Seat {
    const seat: OwnSeat = {
      state: "new",
      why: undefined,
      entered: undefined,
      done: undefined,
      afterCommit: [],
      deferred: { messages: [], settlements: [] },
    };
    let entering: Promise<void> | undefined;
    return {
      afterCommit: seat.afterCommit,
      deferred: seat.deferred,
      async use(work) {
        if (seat.state === "new" || seat.state === "waiting") {
          entering ??= enter(seat, signal);
          await entering;
        }
        if (seat.state !== "inside") throw seat.why ?? new WaybillError("STALE_ATTEMPT", "the transaction is over");
        return work(opened!);
      },
      async commit() {
        if (seat.state === "new") {
          seat.state = "over";
          return;
        }
        if (seat.state !== "inside") throw seat.why ?? new WaybillError("STALE_ATTEMPT", "the transaction is over");
        if (opened!.connection.db.isTransaction) opened!.connection.prepare("release handler").run();
        seat.state = "through";
        through.push(seat);
        const done = new Promise<void>((resolve, reject) => {
          seat.done = { resolve, reject };
        });
        leave();
        return done;
      },
      rollback() {
        if (seat.state === "over" || seat.state === "through") return;
        const waiting = seat.state === "waiting";
        const why = new WaybillError("ABORTED", "the transaction was rolled back");
        takeBack(seat, why);
        if (waiting) seat.entered?.reject(why);
      },
    };
  }

  return {
    take,
    async close() {
      closed = true;
      const why = toError({ code: "CLOSED", text: "the embedded file is closed", certainty: "definite" });
      for (const seat of queue.splice(0)) refuse(seat, why);
      if (inside !== undefined) takeBack(inside, why);
      await running;
      lock.close();
      opened = undefined;
    },
  };
}
