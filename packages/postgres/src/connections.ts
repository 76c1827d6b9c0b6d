import { connect as connectSocket } from "node:net";
import { WaybillError } from "@waybill/core";
import { Client, Pool, type ClientConfig, type PoolClient, type QueryResult } from "pg";
import { isLinkLoss, poolRemedy, toError } from "./errors.ts";
import type { Settings } from "./options.ts";

/** Connections with bounded waits: the user's pool, or one of our own. */
export interface Connections {
  /** Waits for one, over a restart of the server too, until `connectTimeout` or the signal. */
  take(signal: AbortSignal | undefined): Promise<PoolClient>;
  /** One statement, or several in one text, outside any transaction of ours. Repeats nothing. */
  query(text: string, values: unknown[], doing: string): Promise<QueryResult>;
  /** A connection beside the pool, not yet connected. */
  alone(): Client;
  close(): Promise<void>;
}

const closeMs = 2_000;
/** What the server is given beyond its own limit, before the link is taken for dead. */
export const graceMs = 2_000;

export function openConnections(settings: Settings): Connections {
  const { connectTimeoutMs, statementTimeoutMs } = settings;
  const pool = settings.pool ?? ownPool(settings);
  const guarded = new WeakSet<Client>();
  /** Told when the store closes. */
  const waiting = new Set<(error: WaybillError) => void>();
  let isClosing = false;
  // An idle connection that breaks is gone from the pool, and the next one is made: nothing for anybody to handle.
  const ignore = (): void => undefined;
  pool.on("error", ignore);

  // While one is taken nobody else hears that it broke; the statement that waits is told. Before its taker is told that he has
  // it: both may come in one packet.
  function guard(client: Client): void {
    if (!guarded.has(client)) client.on("error", ignore);
    guarded.add(client);
  }
  pool.on("acquire", guard);

  async function once(leftMs: number, signal: AbortSignal | undefined): Promise<PoolClient> {
    // One that is idle comes at once.
    if (pool.idleCount > pool.waitingCount) return pool.connect();
    const asked = pool.connect();
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(poolTimeout(leftMs)), leftMs);
    const onAbort = (): void => late.reject(new WaybillError("ABORTED", "connect: the signal fired"));
    signal?.addEventListener("abort", onAbort, { once: true });
    waiting.add(late.reject);
    try {
      return await Promise.race([asked, late.promise]);
    } catch (error) {
      // It may still come, for nobody.
      asked.then(
        (client) => client.release(),
        () => undefined,
      );
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      waiting.delete(late.reject);
    }
  }

  async function take(signal: AbortSignal | undefined): Promise<PoolClient> {
    const until = performance.now() + connectTimeoutMs;
    for (let waitMs = 50; ; waitMs = Math.min(waitMs * 2, 1_000)) {
      if (isClosing) throw closed();
      if (signal?.aborted === true) throw new WaybillError("ABORTED", "connect: the signal had fired");
      try {
        return await once(Math.max(1, until - performance.now()), signal);
      } catch (error) {
        const reason = toError(error, "connect");
        const again = reason.code === "CONNECTION" || reason.code === "CONNECTION_LOST";
        if (!again || performance.now() + waitMs > until) throw reason;
        await pause(waitMs, signal);
      }
    }
  }

  /** Ends early when nobody waits for it any more. */
  async function pause(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
    const over = Promise.withResolvers<void>();
    const onEnd = (): void => over.resolve();
    const timer = setTimeout(onEnd, delayMs);
    signal?.addEventListener("abort", onEnd, { once: true });
    waiting.add(onEnd);
    await over.promise;
    clearTimeout(timer);
    signal?.removeEventListener("abort", onEnd);
    waiting.delete(onEnd);
  }

  return {
    take,
    async query(text, values, doing) {
      const client = await take(undefined);
      try {
        const result = await within(client.query(text, values), statementTimeoutMs + graceMs);
        client.release();
        return result;
      } catch (error) {
        client.release(isLinkLoss(error));
        throw toError(error, doing);
      }
    },
    alone() {
      const config: ClientConfig = settings.pool?.options ?? ownConfig(settings);
      return new Client(config);
    },
    async close() {
      isClosing = true;
      for (const tell of waiting) tell(closed());
      if (settings.pool !== undefined) {
        pool.off("error", ignore);
        pool.off("acquire", guard);
        return;
      }
      await within(pool.end(), closeMs).catch(() => undefined);
    },
  };
}

function ownConfig({ connectionString, connectTimeoutMs }: Settings): ClientConfig {
  return {
    connectionString,
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
    fallback_application_name: "waybill",
  };
}

function ownPool(settings: Settings): Pool {
  return new Pool({ ...ownConfig(settings), max: settings.maxConnections });
}

/** Rejects when it takes too long: the link is dead, for all that anybody knows. */
export async function within<T>(work: Promise<T>, limitMs: number): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new WaybillError("CONNECTION_LOST", `no answer within ${limitMs} ms`)), limitMs);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
    work.catch(() => undefined);
  }
}

function poolTimeout(ms: number): WaybillError {
  return new WaybillError("POOL_TIMEOUT", `connect: no connection came free within ${Math.round(ms)} ms`, {
    remedy: poolRemedy,
  });
}

export function closed(): WaybillError {
  return new WaybillError("CLOSED", "the PostgreSQL store is closed");
}

/**
 * Gives up a connection whose statement nobody waits for any more. The server would go on with it, and keep its locks: it is
 * asked to stop (the protocol's CancelRequest, on a connection of its own; best effort).
 */
export function abandon(client: PoolClient): void {
  const { processID, secretKey } = client as unknown as { readonly processID: unknown; readonly secretKey: unknown };
  const { host, port } = client;
  client.release(true);
  if (typeof processID !== "number" || typeof secretKey !== "number") return;
  const request = Buffer.alloc(16);
  request.writeInt32BE(16, 0);
  request.writeInt32BE(80_877_102, 4);
  request.writeInt32BE(processID, 8);
  request.writeInt32BE(secretKey, 12);
  const socket = host.startsWith("/") ? connectSocket(`${host}/.s.PGSQL.${port}`) : connectSocket(port, host);
  socket.setTimeout(closeMs, () => socket.destroy());
  socket.on("error", () => socket.destroy());
  socket.unref();
  socket.end(request);
}
