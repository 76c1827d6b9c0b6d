import { articleOf } from "../catalogue.ts";
import { GetQuote, OrderPlaced, StockReserved } from "../contracts.ts";
import type { Service, ServiceContext } from "./context.ts";
import { effect, leaseOf } from "./effect.ts";

/** Answers quotes, and reserves stock for every order: from the shelf to the reserved ones. */
export function inventory(service: ServiceContext): Service {
  service.bus.reply(
    GetQuote,
    { group: "pricing", concurrency: 128, ...leaseOf(service.bus.transport, GetQuote.topic) },
    ({ sku, quantity }) => {
      const article = articleOf(sku);
      if (article === undefined) throw new Error("no such article");
      return { totalCents: article.priceCents * quantity };
    },
  );

  effect(service, OrderPlaced, {
    group: "inventory",
    breakable: true,
    async work(order, { sql, publish }) {
      const taken = await sql.run(
        "update stock set on_hand = on_hand - ?, reserved = reserved + ? where sku = ? and on_hand >= ?",
        order.quantity,
        order.quantity,
        order.sku,
        order.quantity,
      );
      if (taken !== 1) throw new Error("out of stock");
      await sql.run(
        "insert into reservations (order_id, sku, quantity, at) values (?, ?, ?, ?)",
        order.id,
        order.sku,
        order.quantity,
        Date.now(),
      );
      await publish(StockReserved, order);
    },
  });
  return {};
}
