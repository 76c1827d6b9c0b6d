import { event, request } from "@waybill/core";
import { z } from "zod";
import { articleOf } from "./catalogue.ts";

const id = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "expected 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit");
const sku = z.string().refine((value) => articleOf(value) !== undefined, "no such article");
const quantity = z.number().int().min(1).max(100);

/** What a customer hands in. Without an id the shop gives it one. */
export const NewOrder = z.strictObject({ id: id.optional(), customer: z.string().min(1).max(200), sku, quantity });
export type NewOrder = z.output<typeof NewOrder>;

/** An order that has its id. */
export const Order = z.object({ id, customer: z.string(), sku, quantity });
export type Order = z.output<typeof Order>;

const placed = z.object({ ...Order.shape, totalCents: z.number().int().positive() });

/** Every event has the order as its key: what happens to one order stays in order. */
export const OrderPlaced = event("order.placed", { schema: placed, key: (order) => order.id });
export const StockReserved = event("stock.reserved", { schema: placed, key: (order) => order.id });
export const PaymentAccepted = event("payment.accepted", { schema: placed, key: (order) => order.id });
export type PlacedOrder = z.output<typeof placed>;

export const GetQuote = request("quote.get", {
  request: z.object({ sku, quantity }),
  reply: z.object({ totalCents: z.number().int().positive() }),
});

/** Who handles what: the groups whose queues have to be empty at the end. `service` owns the group. */
export const stations = [
  { service: "inventory", contract: OrderPlaced, group: "inventory" },
  { service: "payment", contract: StockReserved, group: "payment" },
  { service: "shipping", contract: PaymentAccepted, group: "shipping" },
] as const;

export const serviceNames = ["shop", "inventory", "payment", "shipping"] as const;
export type ServiceName = (typeof serviceNames)[number];
