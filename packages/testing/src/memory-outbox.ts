import type { Clock, Message, Outbox, OutboxRow } from "@waybill/core";

interface Row extends OutboxRow {
  readonly addedAt: number;
  owner: string | undefined;
  until: number;
}

export interface MemoryOutbox extends Outbox {
  /** Committed. */
  add(messages: readonly Message[]): void;
}

export function createMemoryOutbox(clock: () => Clock): MemoryOutbox {
  const rows = new Map<number, Row>();
  const watchers = new Set<() => void>();
  let last = 0;

  function isHeldFrom(owner: string, row: Row): boolean {
    return row.owner !== undefined && row.owner !== owner && row.until > clock().monotonic();
  }
  function wake(): void {
    for (const watcher of watchers) watcher();
  }

  return {
    add(messages) {
      for (const message of messages) {
        last += 1;
        rows.set(last, { row: last, message, addedAt: clock().now(), owner: undefined, until: 0 });
      }
      if (messages.length > 0) wake();
    },
    async take({ owner, limit, leaseMs }) {
      const taken: Row[] = [];
      const blocked = new Set<string>();
      for (const row of rows.values()) {
        if (taken.length === limit) break;
        const { key } = row.message;
        if (key !== undefined && blocked.has(key)) continue;
        if (isHeldFrom(owner, row)) {
          if (key !== undefined) blocked.add(key);
          continue;
        }
        row.owner = owner;
        row.until = clock().monotonic() + leaseMs;
        taken.push(row);
      }
      return taken.map(({ row, message }) => ({ row, message }));
    },
    async done(owner, numbers) {
      for (const number of numbers) if (rows.get(number)?.owner === owner) rows.delete(number);
      // What waited behind these may go now.
      if (rows.size > 0) wake();
    },
    async release(owner, numbers) {
      for (const number of numbers) {
        const row = rows.get(number);
        if (row?.owner === owner) row.owner = undefined;
      }
    },
    async backlog() {
      const [oldest] = rows.values();
      return { rows: rows.size, oldestAt: oldest?.addedAt };
    },
    watch(watcher) {
      const own = (): void => watcher();
      watchers.add(own);
      return () => void watchers.delete(own);
    },
  };
}
