import { randomUUID } from "node:crypto";
import { isWaybillError } from "@waybill/core";
import { GetQuote, OrderPlaced, type Order } from "../contracts.ts";
import { sqlOf } from "../database.ts";
import { listen, type HttpDoor } from "../http.ts";
import type { Answer, OrderSource } from "../ipc.ts";
import type { Service, ServiceContext } from "./context.ts";
import { stateOf } from "./order-state.ts";

const quoteTries = 3;
const quoteTimeout = "3s";

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

  async function place(order: Order, source: OrderSource, resent: boolean): Promise<Answer> {
    try {
      await moments.reach("before");
      const placed = { ...order, totalCents: await totalOf(order) };
      const isNew = await bus.transact(database.store, async (ctx) => {
        const written = await sqlOf(ctx.tx).run(
          `insert into orders (id, customer, sku, quantity, total_cents, source, placed_at)
             values (?, ?, ?, ?, ?, ?, ?) on conflict do nothing`,
          ...[order.id, order.customer, order.sku, order.quantity, placed.totalCents, source, Date.now()],
        );
        if (written === 0) return false;
        if (settings.sabotage !== "drop-outbox") await ctx.publish(OrderPlaced, placed);
        await moments.reach("during");
        return true;
      });
      await moments.reach("committed");
      // Without the outbox: an order that is in the books, and that nobody hears of if the shop dies here.
      if (isNew && settings.sabotage === "drop-outbox") await bus.publish(OrderPlaced, placed);
      return { id: order.id, outcome: isNew || resent ? "taken" : "used" };
    } catch (error) {
      return { id: order.id, outcome: "failed", reason: isWaybillError(error) ? `${error.code}: ${error.message}` : "the shop failed" };
    }
  }

  const answers: Answer[] = [];
  const answer = (one: Answer): void => {
    if (answers.push(one) > 1) return;
    setImmediate(() => service.report({ kind: "answers", answers: answers.splice(0) }));
  };

  return {
    take(orders) {
      for (const { order, source, resent } of orders) void place(order, source, resent).then(answer);
    },
    async opened() {
      door = await listen(settings.port, {
        ready: () => open && bus.status().healthy,
        place: (order) => place({ ...order, id: order.id ?? randomUUID() }, "http", false),
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
