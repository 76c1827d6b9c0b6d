// Exactly-once effects a second, beside a transaction loop written by hand: node --conditions=@waybill/source this-file
import { startBroker } from "@waybill/brokers";
import { createBus, event, memory } from "@waybill/core";
import { Pool } from "pg";
import { postgresStore } from "./store.ts";

const rounds = Number(process.argv[2] ?? 5);
const url = process.argv[3];
const server = url === undefined ? await startBroker("postgres") : undefined;
const connectionString = url ?? server?.url ?? "";
const pool = new Pool({ connectionString, max: 32 });
const skus = 1_000;
await pool.query(`drop schema if exists waybill cascade; drop table if exists stock; create table stock (sku integer primary key, quantity bigint not null) with (fillfactor = 50);
  insert into stock select i, 0 from generate_series(0, ${skus - 1}) i;
  drop table if exists by_hand; create table by_hand (scope text, id text, applied_at timestamptz not null default now(), primary key (scope, id));
  create index on by_hand (applied_at)`);
const store = postgresStore({ pool });
await store.open({ signal: AbortSignal.timeout(20_000) });
const update = "update stock set quantity = quantity - 1 where sku = $1";
let next = 0;

async function byHand(inFlight: number, count: number): Promise<number> {
  const ids = Array.from({ length: count }, () => String((next += 1)));
  const started = performance.now();
  const worker = async (): Promise<void> => {
    for (let id = ids.pop(); id !== undefined; id = ids.pop()) {
      const client = await pool.connect();
      try {
        await client.query("begin");
        await client.query(update, [Number(id) % skus]);
        const { rowCount } = await client.query("insert into by_hand (scope, id) values ($1, $2) on conflict do nothing", ["g|order", id]);
        await client.query(rowCount === 1 ? "commit" : "rollback");
      } finally {
        client.release();
      }
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return (count * 1_000) / (performance.now() - started);
}

async function ours(inFlight: number, count: number, batch?: number): Promise<number> {
  const Order = event<number>("order");
  const bus = createBus({ name: "speed", transport: memory() });
  const choices = { group: "g", exactlyOnce: store } as const;
  if (batch === undefined) {
    bus.subscribe(Order, { ...choices, concurrency: inFlight }, async (order, { tx }) => void (await tx.query(update, [order % skus])));
  } else {
    bus.subscribeBatch(Order, { ...choices, concurrency: inFlight, size: batch, within: "5ms" }, async (orders, { tx }) => {
      const { rows } = countBySku(orders.map(({ body }) => body % skus));
      await tx.query("update stock set quantity = quantity - n from unnest($1::int[], $2::int[]) as u (id, n) where sku = u.id", rows);
    });
  }
  await bus.start();
  const bodies = Array.from({ length: count }, () => (next += 1));
  const started = performance.now();
  await bus.publishMany(Order, bodies);
  while (bus.metrics().groups["order"]?.["g"]?.handled !== count) {
    if ((bus.metrics().groups["order"]?.["g"]?.failed ?? 0) > 0) throw new Error("a handler failed");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  const rate = (count * 1_000) / (performance.now() - started);
  await bus.close();
  return rate;
}

/** In one order, so that two batches do not wait for each other. */
function countBySku(all: readonly number[]): { readonly rows: unknown[] } {
  const counts = new Map<number, number>();
  for (const sku of all.toSorted((a, b) => a - b)) counts.set(sku, (counts.get(sku) ?? 0) + 1);
  return { rows: [[...counts.keys()], [...counts.values()]] };
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

async function compare(name: string, one: () => Promise<number>, other: () => Promise<number>): Promise<void> {
  const pairs: [number, number][] = [];
  for (let round = 0; round <= rounds; round += 1) pairs.push([await one(), await other()]);
  pairs.shift();
  const ratio = median(pairs.map(([a, b]) => a / b));
  const figures = [median(pairs.map(([a]) => a)), median(pairs.map(([, b]) => b))].map((rate) => rate.toFixed(0));
  process.stdout.write(`${name}: ours ${figures[0]}/s, by hand ${figures[1]}/s, ratio ${ratio.toFixed(2)}\n`);
}

await compare(
  "1 in flight",
  () => ours(1, 1_000),
  () => byHand(1, 1_000),
);
await compare(
  "32 in flight",
  () => ours(32, 4_000),
  () => byHand(32, 4_000),
);
await compare(
  "batches of 100, 4 at once",
  () => ours(4, 10_000, 100),
  () => byHand(32, 4_000),
);
await store.close();
await pool.end();
await server?.[Symbol.asyncDispose]();
