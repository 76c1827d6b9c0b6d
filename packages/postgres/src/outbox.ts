import { WaybillError, type Message, type Outbox } from "@waybill/core";
import type { QueryResult } from "pg";
import type { Connections } from "./connections.ts";
import { toColumns, toOutboxRow, type TakenRow } from "./record.ts";
import type { Statements } from "./sql.ts";

/** One statement of so many rows, or of so many bytes of bodies. */
const rowsAtOnce = 1_000;
const bytesAtOnce = 8 * 1024 * 1024;

/** In the handler's transaction. One trip, unless it is much. */
export async function insertOutbox(
  messages: readonly Message[],
  statements: Statements,
  run: (text: string, values: unknown[]) => Promise<unknown>,
): Promise<void> {
  const rows = messages.map(columnsOf);
  for (let start = 0, end = 0; start < rows.length; start = end) {
    let bytes = 0;
    while (end < rows.length && end - start < rowsAtOnce && (end === start || bytes < bytesAtOnce)) {
      bytes += rows[end]?.body?.byteLength ?? 0;
      end += 1;
    }
    const part = rows.slice(start, end);
    const [only] = part;
    if (part.length === 1 && only !== undefined) {
      await run(statements.enqueue, [only.orderKey, only.topic, only.message, only.body]);
    } else {
      await run(statements.enqueueMany, [
        part.map(({ orderKey }) => orderKey),
        part.map(({ topic }) => topic),
        part.map(({ message }) => message),
        part.map(({ body }) => body),
      ]);
    }
  }
}

function columnsOf(message: Message): ReturnType<typeof toColumns> {
  try {
    return toColumns(message);
  } catch (error) {
    throw new WaybillError("STORE", "enqueue: the native options are no plain data, and cannot be stored", {
      cause: error,
      retryable: false,
    });
  }
}

export function openOutbox(connections: Connections, statements: Statements, watch: Outbox["watch"]): Outbox {
  return {
    async take({ owner, limit, leaseMs }) {
      const results = await connections.query(statements.take(owner, limit, leaseMs), [], "outbox");
      // Of several statements in one text the library gives several results; its types know of one.
      const { rows } = (results as unknown as readonly QueryResult<TakenRow & Record<string, unknown>>[]).at(-1) ?? { rows: [] };
      return rows.map(toOutboxRow).sort((a, b) => a.row - b.row);
    },
    async done(owner, rows) {
      if (rows.length > 0) await connections.query(statements.done, [owner, rows], "outbox");
    },
    async release(owner, rows) {
      if (rows.length > 0) await connections.query(statements.release, [owner, rows], "outbox");
    },
    async backlog() {
      const { rows } = await connections.query(statements.backlog, [], "outbox");
      const [only] = rows as readonly { readonly rows: string; readonly oldest: string | null }[];
      const oldest = only?.oldest ?? null;
      return { rows: Number(only?.rows ?? 0), oldestAt: oldest === null ? undefined : Number(oldest) };
    },
    watch,
  };
}
