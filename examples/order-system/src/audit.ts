import type { DatabaseSync } from "node:sqlite";
import { catalogue } from "./catalogue.ts";
import { expectedCause } from "./seed.ts";

/** A dead letter as the transport holds it. */
export interface DeadOrder {
  readonly orderId: string;
  /** The group that gave it up. */
  readonly group: string;
  readonly code: string;
  readonly text: string;
  readonly attempts: number;
}

/** A queue as the transport counts it. A text is why the transport cannot tell. */
export interface QueueCount {
  readonly name: string;
  readonly depth: number | string;
}

/** What does not stand in the database. */
export interface Facts {
  readonly seed: number;
  readonly deadOrders: readonly DeadOrder[];
  readonly queues: readonly QueueCount[];
  /** Messages that were committed and not yet published. */
  readonly outboxRows: number;
  /** Orders for which customers have the shop's word, by where they came from. */
  readonly receipts: { readonly generator: number; readonly input: number };
}

export interface AuditReport {
  readonly orders: number;
  readonly shipped: number;
  readonly deadLettered: number;
  /** Attempts after the first, of orders that were paid or given up. */
  readonly retried: number;
  readonly lost: number;
  readonly duplicateEffects: number;
  readonly ok: boolean;
  /** The first ones, in words. */
  readonly problems: readonly string[];
  readonly problemCount: number;
}

const shownProblems = 10;
const paymentGroup = "payment";

interface OrderRow {
  readonly id: string;
  readonly sku: string;
  readonly quantity: number;
  readonly total: number;
  readonly reserved: number;
  readonly paid: number;
  readonly paidCents: number;
  readonly shipped: number;
}

/**
 * Goes through the books order by order, and compares them with what the seed says must have happened. It reads the database
 * and the transport's own counts, and asks no service.
 */
export function audit(database: DatabaseSync, facts: Facts): AuditReport {
  const problems: string[] = [];
  let problemCount = 0;
  const wrong = (text: string): void => {
    problemCount += 1;
    if (problems.length < shownProblems) problems.push(text);
  };

  const dead = deadById(facts.deadOrders, wrong);
  const expectedStock = new Map(catalogue.map(({ sku, initialStock }) => [sku, { onHand: initialStock, reserved: 0, shipped: 0 }]));
  let orders = 0;
  let shipped = 0;
  let deadLettered = 0;
  let lost = 0;
  let duplicateEffects = 0;

  for (const row of ordersOf(database)) {
    orders += 1;
    const cause = expectedCause(facts.seed, row.id);
    const letter = dead.get(row.id);
    dead.delete(row.id);
    if (row.shipped > 0) shipped += 1;
    if (letter !== undefined) deadLettered += 1;
    if (row.shipped === 0 && letter === undefined) {
      lost += 1;
      wrong(`${row.id}: lost, ${lastSeen(row)}`);
    }
    for (const [what, count] of [
      ["reserved", row.reserved],
      ["paid", row.paid],
      ["shipped", row.shipped],
    ] as const) {
      if (count > 1) {
        duplicateEffects += count - 1;
        wrong(`${row.id}: ${what} ${count} times`);
      }
    }
    const stock = expectedStock.get(row.sku);
    if (stock !== undefined) {
      stock.onHand -= row.quantity;
      stock[cause === undefined ? "shipped" : "reserved"] += row.quantity;
    }
    if (cause === undefined) {
      if (letter !== undefined) wrong(`${row.id}: dead-lettered by ${letter.group} (${letter.code}: ${letter.text}), must be shipped`);
      if (row.paid > 0 && row.paidCents !== row.paid * row.total)
        wrong(`${row.id}: paid ${row.paidCents} cents, the order says ${row.total}`);
    } else {
      if (row.shipped > 0) wrong(`${row.id}: shipped, its payment must fail: ${cause.text}`);
      if (row.paid > 0) wrong(`${row.id}: paid, its payment must fail: ${cause.text}`);
      if (letter !== undefined && !hasCause(letter, cause)) {
        wrong(`${row.id}: dead-lettered by ${letter.group} with ${letter.code}: ${letter.text}, expected ${cause.code}: ${cause.text}`);
      }
    }
  }
  for (const letter of dead.values()) wrong(`${letter.orderId}: dead-lettered by ${letter.group}, and in no book`);

  for (const [source, count] of Object.entries(facts.receipts)) {
    const missing = count - number(database, "select count(*) as n from orders where source = ?", source);
    if (missing > 0) {
      lost += missing;
      wrong(`${missing} orders of the ${source} were accepted and are not in the books`);
    }
  }
  checkStrays(database, wrong);
  checkStock(database, expectedStock, wrong);
  for (const queue of facts.queues)
    if (typeof queue.depth === "number" && queue.depth > 0) wrong(`queue ${queue.name}: ${queue.depth} messages are left`);
  if (facts.outboxRows > 0) wrong(`outbox: ${facts.outboxRows} messages were never published`);
  if (shipped + deadLettered !== orders) wrong(`shipped ${shipped} + dead-lettered ${deadLettered} is not orders ${orders}`);

  return {
    orders,
    shipped,
    deadLettered,
    retried: retriesOf(database, facts.deadOrders),
    lost,
    duplicateEffects,
    ok: problemCount === 0,
    problems,
    problemCount,
  };
}

function ordersOf(database: DatabaseSync): Iterable<OrderRow> {
  return database
    .prepare(
      `select o.id, o.sku, o.quantity, o.total_cents as total,
         (select count(*) from reservations r where r.order_id = o.id) as reserved,
         (select count(*) from payments p where p.order_id = o.id) as paid,
         (select coalesce(sum(total_cents), 0) from payments p where p.order_id = o.id) as paidCents,
         (select count(*) from shipments s where s.order_id = o.id) as shipped
       from orders o order by o.rowid`,
    )
    .iterate() as Iterable<unknown> as Iterable<OrderRow>;
}

function deadById(deadOrders: readonly DeadOrder[], wrong: (text: string) => void): Map<string, DeadOrder> {
  const dead = new Map<string, DeadOrder>();
  for (const letter of deadOrders) {
    if (dead.has(letter.orderId)) wrong(`${letter.orderId}: dead-lettered more than once`);
    dead.set(letter.orderId, letter);
  }
  return dead;
}

function hasCause(letter: DeadOrder, cause: { readonly code: string; readonly text: string }): boolean {
  return letter.group === paymentGroup && letter.code === cause.code && letter.text.includes(cause.text);
}

function lastSeen(row: OrderRow): string {
  if (row.paid > 0) return "paid and never shipped";
  return row.reserved > 0 ? "reserved and never paid" : "never reserved";
}

/** Effects of orders that nobody placed. */
function checkStrays(database: DatabaseSync, wrong: (text: string) => void): void {
  for (const table of ["reservations", "payments", "shipments"]) {
    const strays = number(
      database,
      `select count(*) as n from ${table} t where not exists (select 1 from orders o where o.id = t.order_id)`,
    );
    if (strays > 0) wrong(`${table}: ${strays} of orders that are not in the books`);
  }
}

function checkStock(
  database: DatabaseSync,
  expected: ReadonlyMap<string, { readonly onHand: number; readonly reserved: number; readonly shipped: number }>,
  wrong: (text: string) => void,
): void {
  const rows = database.prepare("select sku, on_hand as onHand, reserved, shipped from stock").all() as unknown as {
    readonly sku: string;
    readonly onHand: number;
    readonly reserved: number;
    readonly shipped: number;
  }[];
  const found = new Map(rows.map((row) => [row.sku, row]));
  for (const [sku, want] of expected) {
    const have = found.get(sku);
    if (have === undefined) {
      wrong(`stock of ${sku}: missing`);
      continue;
    }
    for (const [field, label] of [
      ["onHand", "on hand"],
      ["reserved", "reserved"],
      ["shipped", "shipped"],
    ] as const) {
      if (have[field] !== want[field]) wrong(`stock of ${sku}: ${have[field]} ${label}, must be ${want[field]}`);
    }
  }
}

function retriesOf(database: DatabaseSync, deadOrders: readonly DeadOrder[]): number {
  const paid = number(database, "select coalesce(sum(attempts - 1), 0) as n from payments where attempts > 1");
  return deadOrders.reduce((sum, letter) => sum + Math.max(0, letter.attempts - 1), paid);
}

function number(database: DatabaseSync, sql: string, ...values: string[]): number {
  return (database.prepare(sql).get(...values) as { readonly n: number }).n;
}
