import { escapeIdentifier, type Client } from "pg";
import type { Connections } from "./connections.ts";
import { within } from "./connections.ts";

/** Who waits for outbox rows, here and in other processes. */
export interface Watch {
  add(wake: () => void): () => void;
  /** Rows were committed here. */
  committed(): void;
  close(): Promise<void>;
}

const firstRetryMs = 200;
const lastRetryMs = 5_000;
const connectMs = 10_000;
const endMs = 2_000;

/**
 * A relay of this process is woken directly. Where there is none, other processes are notified, after the commit: NOTIFY inside
 * the transactions would make them commit one at a time (PostgreSQL holds one lock for all of a database from there on).
 * What gets lost is found a little later: a relay looks every second.
 */
export function watchOutbox(connections: Connections, channel: string): Watch {
  const wakers = new Set<() => void>();
  let listening: Client | undefined;
  let retry: NodeJS.Timeout | undefined;
  let retryMs = firstRetryMs;
  let isClosed = false;
  let telling: Promise<void> | undefined;
  let again = false;
  let attaching: Promise<void> = Promise.resolve();
  let stopping: Promise<void> = Promise.resolve();

  function wakeAll(): void {
    for (const wake of wakers) wake();
  }

  function wanted(): boolean {
    return wakers.size > 0 && !isClosed;
  }

  function listen(): void {
    if (!wanted() || listening !== undefined || retry !== undefined) return;
    const client = connections.alone();
    listening = client;
    const lost = (): void => {
      if (listening !== client) return;
      listening = undefined;
      client.end(() => undefined);
      if (!wanted()) return;
      retry = setTimeout(() => {
        retry = undefined;
        listen();
      }, retryMs);
      // It keeps no process alive by itself.
      retry.unref();
      retryMs = Math.min(retryMs * 2, lastRetryMs);
    };
    client.on("error", lost);
    client.on("end", lost);
    client.on("notification", wakeAll);
    attaching = attach(client).catch(lost);
  }

  async function attach(client: Client): Promise<void> {
    await within(client.connect(), connectMs);
    await within(client.query(`listen ${escapeIdentifier(channel)}`), connectMs);
    retryMs = firstRetryMs;
    // What was told while nobody listened.
    wakeAll();
  }

  async function stopListening(): Promise<void> {
    clearTimeout(retry);
    retry = undefined;
    const client = listening;
    listening = undefined;
    if (client === undefined) return;
    await within(attaching, endMs).catch(() => undefined);
    await within(client.end(), endMs).catch(() => undefined);
  }

  /** One at a time, and one more for all that came meanwhile. */
  async function tell(): Promise<void> {
    do {
      again = false;
      await connections.query("select pg_notify($1, '')", [channel], "notify").catch(() => undefined);
    } while (again && !isClosed);
    telling = undefined;
  }

  return {
    add(wake) {
      const own = (): void => wake();
      wakers.add(own);
      listen();
      return () => {
        wakers.delete(own);
        if (wakers.size === 0) stopping = stopListening();
      };
    },
    committed() {
      if (wakers.size > 0) return wakeAll();
      again = true;
      if (!isClosed) telling ??= tell();
    },
    async close() {
      isClosed = true;
      wakers.clear();
      await stopping;
      await stopListening();
      await telling;
    },
  };
}
