/**
 * The services' tables. Those of effects (reservations, payments, shipments) have no unique key on purpose: an effect that is
 * applied twice must be there twice, for the audit to find.
 */
export const schema: readonly string[] = [
  `create table if not exists runs (number integer primary key, seed integer not null, started_at integer not null)`,
  `create table if not exists orders (
     id text primary key, customer text not null, sku text not null, quantity integer not null,
     total_cents integer not null, source text not null, line integer, placed_at integer not null)`,
  `create table if not exists stock (
     sku text primary key, on_hand integer not null, reserved integer not null, shipped integer not null)`,
  `create table if not exists reservations (order_id text not null, sku text not null, quantity integer not null, at integer not null)`,
  `create table if not exists payments (order_id text not null, total_cents integer not null, attempts integer not null, at integer not null)`,
  `create table if not exists shipments (order_id text not null, sku text not null, quantity integer not null, at integer not null)`,
  `create index if not exists shipments_order on shipments (order_id)`,
  `create index if not exists payments_order on payments (order_id)`,
  `create index if not exists reservations_order on reservations (order_id)`,
];
