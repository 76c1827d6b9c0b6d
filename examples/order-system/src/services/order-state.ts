import type { Database } from "../database.ts";

/** Where an order is, as its customer may know it. An order that was given up stays where its payment failed. */
export function stateOf(database: Database, id: string): Readonly<Record<string, unknown>> | undefined {
  const row = database.reader
    .prepare(
      `select o.id, o.sku, o.quantity, o.total_cents as totalCents,
         exists (select 1 from reservations r where r.order_id = o.id) as reserved,
         exists (select 1 from payments p where p.order_id = o.id) as paid,
         exists (select 1 from shipments s where s.order_id = o.id) as shipped
       from orders o where o.id = ?`,
    )
    .get(id);
  if (row === undefined) return undefined;
  const { reserved, paid, shipped, ...order } = row;
  const state = shipped === 1 ? "shipped" : paid === 1 ? "paid" : reserved === 1 ? "reserved" : "placed";
  return { ...order, state };
}
