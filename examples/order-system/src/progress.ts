import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { ServiceName } from "./contracts.ts";

export interface Latency {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** How far the services have come, read from their tables; cheap enough to be read many times a second. */
export interface Progress {
  /** Rows of each service's own table since the file was made. */
  done(service: ServiceName): number;
  /** Orders that have no shipment, one by one: exact, and slower. */
  openOrders(): readonly string[];
  /** Attempts after the first of the orders paid so far. */
  retried(): number;
  /** From the order's row to its shipment's row, of the orders shipped in the last seconds; undefined: none. */
  latency(): Latency | undefined;
}

const tableOf: Readonly<Record<ServiceName, string>> = {
  shop: "orders",
  inventory: "reservations",
  payment: "payments",
  shipping: "shipments",
};
/** The orders shipped in so many ms before the call, and at most so many of them. */
const latencyOverMs = 5000;
const latencySample = 2000;

export function readProgress(database: DatabaseSync): Progress {
  // Rows are never deleted, so the last row's number is their count, at no cost.
  const last = Object.fromEntries(
    Object.entries(tableOf).map(([service, table]) => [service, database.prepare(`select coalesce(max(rowid), 0) as n from ${table}`)]),
  ) as Record<ServiceName, StatementSync>;
  const open = database.prepare("select id from orders o where not exists (select 1 from shipments s where s.order_id = o.id)");
  const attempts = database.prepare("select coalesce(sum(attempts - 1), 0) as n from payments where rowid > ? and rowid <= ?");
  const shippedSince = database.prepare(
    `select s.at - o.placed_at as ms from shipments s join orders o on o.id = s.order_id
     where s.rowid > ? and s.rowid <= ? order by ms`,
  );
  const numberOf = (statement: StatementSync, ...values: number[]): number => (statement.get(...values) as { readonly n: number }).n;

  let retried = 0;
  let retriedTo = 0;
  const looks = [{ atMs: performance.now(), shipped: numberOf(last.shipping) }];
  return {
    done: (service) => numberOf(last[service]),
    openOrders: () => (open.all() as unknown as { readonly id: string }[]).map(({ id }) => id),
    retried() {
      const to = numberOf(last.payment);
      if (to > retriedTo) retried += numberOf(attempts, retriedTo, to);
      retriedTo = to;
      return retried;
    },
    latency() {
      const to = numberOf(last.shipping);
      const atMs = performance.now();
      looks.push({ atMs, shipped: to });
      while (looks.length > 2 && atMs - (looks[1]?.atMs ?? 0) >= latencyOverMs) looks.shift();
      const from = Math.max(looks[0]?.shipped ?? 0, to - latencySample);
      if (from >= to) return undefined;
      const rows = shippedSince.all(from, to) as unknown as { readonly ms: number }[];
      const at = (share: number): number => rows[Math.min(rows.length - 1, Math.floor(rows.length * share))]?.ms ?? 0;
      return rows.length === 0 ? undefined : { p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
    },
  };
}
