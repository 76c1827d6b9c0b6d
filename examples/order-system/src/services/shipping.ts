import { PaymentAccepted } from "../contracts.ts";
import type { Service, ServiceContext } from "./context.ts";
import { effect } from "./effect.ts";

/** Ships what is paid: from the reserved ones out of the house. */
export function shipping(service: ServiceContext): Service {
  effect(service, PaymentAccepted, {
    group: "shipping",
    breakable: true,
    async work(order, { sql }) {
      await sql.run(
        "update stock set reserved = reserved - ?, shipped = shipped + ? where sku = ?",
        order.quantity,
        order.quantity,
        order.sku,
      );
      await sql.run(
        "insert into shipments (order_id, sku, quantity, at) values (?, ?, ?, ?)",
        order.id,
        order.sku,
        order.quantity,
        Date.now(),
      );
    },
  });
  return {};
}
