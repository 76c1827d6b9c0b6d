import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { audit, type AuditReport, type DeadOrder, type Facts } from "./audit.ts";
import { articleOf, catalogue } from "./catalogue.ts";
import { schema } from "./schema.ts";
import { expectedCause, fateOf, orderOf } from "./seed.ts";

const seed = 7;
const count = 600;
const orders = Array.from({ length: count }, (_, index) => orderOf(seed, index));
const failing = orders.filter(({ id }) => expectedCause(seed, id) !== undefined);
const passing = orders.filter(({ id }) => expectedCause(seed, id) === undefined);

/** The books as they must be after these orders, and what the transport holds. */
function soundBooks(): { readonly books: DatabaseSync; readonly facts: Facts } {
  const books = new DatabaseSync(":memory:");
  for (const statement of schema) books.exec(statement);
  for (const { sku, initialStock } of catalogue) {
    books.prepare("insert into stock (sku, on_hand, reserved, shipped) values (?, ?, 0, 0)").run(sku, initialStock);
  }
  const deadOrders: DeadOrder[] = [];
  for (const { id, customer, sku, quantity } of orders) {
    const total = (articleOf(sku)?.priceCents ?? 0) * quantity;
    books
      .prepare("insert into orders (id, customer, sku, quantity, total_cents, source, placed_at) values (?, ?, ?, ?, ?, 'generator', 1)")
      .run(id, customer, sku, quantity, total);
    books.prepare("insert into reservations (order_id, sku, quantity, at) values (?, ?, ?, 2)").run(id, sku, quantity);
    books.prepare("update stock set on_hand = on_hand - ?, reserved = reserved + ? where sku = ?").run(quantity, quantity, sku);
    const cause = expectedCause(seed, id);
    const fate = fateOf(seed, id);
    if (cause !== undefined) {
      deadOrders.push({
        orderId: id,
        group: "payment",
        code: cause.code,
        text: cause.text,
        attempts: fate.kind === "unreachable" ? 5 : 1,
      });
      continue;
    }
    const attempts = fate.kind === "transient" ? fate.failures + 1 : 1;
    books.prepare("insert into payments (order_id, total_cents, attempts, at) values (?, ?, ?, 3)").run(id, total, attempts);
    books.prepare("insert into shipments (order_id, sku, quantity, at) values (?, ?, ?, 4)").run(id, sku, quantity);
    books.prepare("update stock set reserved = reserved - ?, shipped = shipped + ? where sku = ?").run(quantity, quantity, sku);
  }
  const queues = [
    { name: "order.placed of inventory", depth: 0 },
    { name: "unseen", depth: "the transport does not tell" },
  ];
  return { books, facts: { seed, deadOrders, queues, outboxRows: 0, receipts: { generator: count, input: 0 } } };
}

/** The audit of sound books after `damage`. */
function damaged(damage: (books: DatabaseSync) => void, change: (facts: Facts) => Partial<Facts> = () => ({})): AuditReport {
  const { books, facts } = soundBooks();
  damage(books);
  return audit(books, { ...facts, ...change(facts) });
}
const nothing = (): void => {};
const [first, second] = passing as [(typeof orders)[number], (typeof orders)[number]];
const refused = failing.find(({ id }) => fateOf(seed, id).kind === "refused");
const failed = failing[0] as (typeof orders)[number];

test("sound books are ok, and counted", () => {
  assert.ok(failing.length >= 4 && refused !== undefined, "the seed must give some orders of each kind");
  const report = damaged(nothing);
  assert.deepEqual(report.problems, []);
  const { orders: all, shipped, deadLettered, lost, duplicateEffects, ok } = report;
  assert.deepEqual([all, shipped, deadLettered, lost, duplicateEffects, ok], [count, passing.length, failing.length, 0, 0, true]);
  const transient = passing.reduce((sum, { id }) => sum + retriesOf(id), 0);
  const unreachable = failing.filter(({ id }) => fateOf(seed, id).kind === "unreachable").length;
  assert.equal(report.retried, transient + 4 * unreachable);
  assert.ok(transient > 0);
});

function retriesOf(id: string): number {
  const fate = fateOf(seed, id);
  return fate.kind === "transient" ? fate.failures : 0;
}

test("an order that went nowhere is lost", () => {
  const report = damaged((books) => {
    for (const table of ["reservations", "payments", "shipments"]) books.prepare(`delete from ${table} where order_id = ?`).run(first.id);
    books
      .prepare("update stock set shipped = shipped - ?, on_hand = on_hand + ? where sku = ?")
      .run(first.quantity, first.quantity, first.sku);
  });
  assert.deepEqual([report.ok, report.lost, report.shipped], [false, 1, passing.length - 1]);
  assert.ok(report.problems.some((text) => text.includes(`${first.id}: lost, never reserved`)));
});

test("an order that was accepted and is in no book is lost", () => {
  const report = damaged(nothing, () => ({ receipts: { generator: count + 2, input: 3 } }));
  assert.deepEqual([report.ok, report.lost], [false, 5]);
});

test("a dead letter that vanished is a lost order", () => {
  const report = damaged(nothing, ({ deadOrders }) => ({ deadOrders: deadOrders.slice(1) }));
  assert.deepEqual([report.ok, report.lost, report.deadLettered], [false, 1, failing.length - 1]);
});

test("an effect applied twice is found in each table", () => {
  for (const [table, columns] of [
    ["reservations", "sku, quantity"],
    ["payments", "total_cents, attempts"],
    ["shipments", "sku, quantity"],
  ] as const) {
    const report = damaged((books) => {
      books
        .prepare(`insert into ${table} (order_id, ${columns}, at) select order_id, ${columns}, at from ${table} where order_id = ?`)
        .run(first.id);
    });
    assert.deepEqual([report.ok, report.duplicateEffects], [false, 1], table);
    assert.equal(report.shipped, passing.length);
  }
});

test("stock that is one piece off is found, whichever way", () => {
  for (const change of ["on_hand = on_hand - 1", "reserved = reserved + 1", "shipped = shipped - 1"]) {
    const report = damaged((books) => books.prepare(`update stock set ${change} where sku = ?`).run(first.sku));
    assert.equal(report.ok, false, change);
    assert.equal(report.problemCount, 1);
    assert.match(report.problems[0] ?? "", new RegExp(`stock of ${first.sku}`));
  }
  assert.match(damaged((books) => books.prepare("delete from stock where sku = ?").run(first.sku)).problems.join(), /missing/);
});

test("an order shipped although its payment must fail is found, and so is the other way round", () => {
  const shipped = damaged((books) =>
    books.prepare("insert into shipments (order_id, sku, quantity, at) values (?, ?, ?, 4)").run(failed.id, failed.sku, failed.quantity),
  );
  assert.equal(shipped.ok, false);
  assert.ok(shipped.problems.some((text) => text.includes(`${failed.id}: shipped, its payment must fail`)));

  const given = damaged(nothing, ({ deadOrders }) => ({
    deadOrders: [...deadOrders, { orderId: second.id, group: "shipping", code: "CRASH_POISON", text: "x", attempts: 3 }],
  }));
  assert.equal(given.ok, false);
  assert.ok(given.problems.some((text) => text.includes(`${second.id}: dead-lettered by shipping (CRASH_POISON`)));
});

test("the cause must be the expected one: code, text and group", () => {
  for (const wrong of [{ code: "HANDLER_TIMEOUT" }, { text: "the weather" }, { group: "inventory" }]) {
    const report = damaged(nothing, ({ deadOrders }) => ({
      deadOrders: deadOrders.map((letter) => (letter.orderId === refused?.id ? { ...letter, ...wrong } : letter)),
    }));
    assert.equal(report.ok, false, JSON.stringify(wrong));
    assert.equal(report.problemCount, 1);
    assert.match(report.problems[0] ?? "", /expected HANDLER: card refused/);
  }
});

test("dead letters of nobody's order, and two of one order, are found", () => {
  const stray = { orderId: "nobody", group: "payment", code: "HANDLER", text: "card refused", attempts: 1 };
  assert.match(damaged(nothing, ({ deadOrders }) => ({ deadOrders: [...deadOrders, stray] })).problems.join(), /nobody: .* in no book/);
  assert.match(
    damaged(nothing, ({ deadOrders }) => ({ deadOrders: [...deadOrders, ...deadOrders.slice(0, 1)] })).problems.join(),
    /more than once/,
  );
});

test("effects of nobody's order, and a wrong amount, are found", () => {
  assert.match(
    damaged((books) => books.exec("insert into payments (order_id, total_cents, attempts, at) values ('nobody', 1, 1, 1)")).problems.join(),
    /payments: 1/,
  );
  const report = damaged((books) => books.prepare("update payments set total_cents = total_cents + 1 where order_id = ?").run(first.id));
  assert.match(report.problems.join(), new RegExp(`${first.id}: paid`));
});

test("what is left in a queue or in the outbox is found", () => {
  assert.match(damaged(nothing, () => ({ queues: [{ name: "q", depth: 3 }] })).problems.join(), /queue q: 3/);
  assert.match(damaged(nothing, () => ({ outboxRows: 2 })).problems.join(), /outbox: 2/);
});

test("only the first ten problems are told, and all are counted", () => {
  const report = damaged((books) => books.exec("delete from shipments"));
  assert.equal(report.problems.length, 10);
  assert.equal(report.lost, passing.length);
  assert.ok(report.problemCount >= passing.length);
});
