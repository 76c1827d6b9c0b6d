import { randomUUID } from "node:crypto";
import { isWaybillError } from "@waybill/core";
import { GetQuote, OrderPlaced, type Order } from "../contracts.ts";
import { sqlOf } from "../database.ts";
import { listen, type HttpDoor } from "../http.ts";
import type { Answer, HandedIn } from "../ipc.ts";
import type { Service, ServiceContext } from "./context.ts";
import { stateOf } from "./order-state.ts";

const quoteTries = 3;
const quoteTimeout = "3s";

const insertOrder = `insert into orders (id, customer, sku, quantity, total_cents, source, line, placed_at)
  values (?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing`;
const sameOrder = "select 1 from orders where id = ? and source = ? and line is ?";

/** Takes orders: asks for the price, then writes the order and publishes it, as one. */
export function shop(service: ServiceContext): Service {
  const { bus, database, moments, settings } = service;
  let door: HttpDoor | undefined;
  let open = false;

  async function totalOf(order: Order): Promise<number> {
    for (let tried = 1; ; tried++) {
      try {
        return (await bus.request(GetQuote, { sku: order.sku, quantity: order.quantity }, { timeout: quoteTimeout })).totalCents;
      } catch (error) {
        if (tried >= quoteTries || !isWaybillError(error) || !error.retryable) throw error;
      }
    }
  }

  async function place({ order, source, line, resent }: HandedIn): Promise<Answer> {
    try {
      await moments.reach("before");
      const placed = { ...order, totalCents: await totalOf(order) };
      const written = await bus.transact(database.store, async (ctx): Promise<"new" | "known" | "used"> => {
        const sql = sqlOf(ctx.tx);
        const values = [order.id, order.customer, order.sku, order.quantity, placed.totalCents, source, line ?? null, Date.now()];
        if ((await sql.run(insertOrder, ...values)) === 0) {
          // Handed in again, it may be here because an earlier shop died before it could say so.
          return resent && (await sql.get(sameOrder, order.id, source, line ?? null)) !== undefined ? "known" : "used";
        }
        if (settings.sabotage !== "drop-outbox") await ctx.publish(OrderPlaced, placed);
        await moments.reach("during");
        return "new";
      });
      await moments.reach("committed");
      // Without the outbox: an order that is in the books, and that nobody hears of if the shop dies here.
      if (written === "new" && settings.sabotage === "drop-outbox") await bus.publish(OrderPlaced, placed);
      return { id: order.id, outcome: written === "used" ? "used" : "taken" };
    } catch (error) {
      return {
        id: order.id,
        outcome: "failed",
        reason: isWaybillError(error) ? `${error.code}: ${error.message}` : "the shop failed",
      };
    }
  }

  const answers: Answer[] = [];
  const answer = (one: Answer): void => {
    if (answers.push(one) > 1) return;
    setImmediate(() => service.report({ kind: "answers", answers: answers.splice(0) }));
  };

  return {
    take(orders) {
      for (const one of orders) void place(one).then(answer);
    },
    async opened() {
      door = await listen(settings.port, {
        ready: () => open && bus.status().healthy,
        place: (order) => place({ order: { ...order, id: order.id ?? randomUUID() }, source: "http", line: undefined, resent: false }),
        state: (id) => stateOf(database, id),
      });
      open = true;
      return door.port;
    },
    async closing() {
      open = false;
      await door?.close(2000);
    },
  };
}
