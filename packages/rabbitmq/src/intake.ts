import { createDeliveries, type Deliveries, type Delivery } from "@waybill/core";

/** What comes in one turn is handed out together: amqplib tells of each message by itself. `stopped`: the iteration was ended from outside. */
export function createIntake(take: () => readonly Delivery[], stopped: () => void): Deliveries {
  const inner = createDeliveries({ take, returned: stopped });
  let scheduled = false;
  const give = (): void => {
    scheduled = false;
    inner.wake();
  };
  return {
    deliveries: inner.deliveries,
    get waiting() {
      return inner.waiting;
    },
    wake() {
      if (scheduled || !inner.waiting) return;
      scheduled = true;
      queueMicrotask(give);
    },
    end: inner.end,
  };
}
