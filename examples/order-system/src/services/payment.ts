import { PaymentAccepted, StockReserved } from "../contracts.ts";
import { expectedCauses, fateOf } from "../seed.ts";
import type { Service, ServiceContext } from "./context.ts";
import { effect } from "./effect.ts";

/** The bank said no: no retry can help. */
class CardRefused extends Error {}

/** Charges the card. The bank is played by the seed: it fails some attempts, and some orders for good. */
export function payment(service: ServiceContext): Service {
  effect(service, StockReserved, {
    group: "payment",
    breakable: false,
    never: [CardRefused],
    async prepare(order, ctx) {
      // The bank takes a moment; the transaction begins after it.
      await new Promise<void>((resolve) => void setImmediate(resolve));
      const fate = fateOf(service.settings.seed, order.id);
      if (fate.kind === "refused") throw new CardRefused(expectedCauses.refused.text);
      if (fate.kind === "fraud") ctx.deadLetter(expectedCauses.fraud.text);
      if (fate.kind === "unreachable") throw new Error(expectedCauses.unreachable.text);
      if (fate.kind === "transient" && ctx.attempt <= fate.failures) throw new Error("the bank is busy");
    },
    async work(order, { sql, publish, attempt }) {
      await sql.run(
        "insert into payments (order_id, total_cents, attempts, at) values (?, ?, ?, ?)",
        order.id,
        order.totalCents,
        attempt,
        Date.now(),
      );
      await publish(PaymentAccepted, order);
    },
  });
  return {};
}
