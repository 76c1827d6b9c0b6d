import type { Guarantee } from "./bus-types.ts";
import { WaybillError } from "./errors.ts";
import type { Plan } from "./plan.ts";
import type { Capabilities, CapabilityName, Transport } from "./transport.ts";

/** Which kinds of transport usually can: for the remedy, so that nobody has to search. */
const whoCan: Partial<Record<CapabilityName, string>> = {
  settle: "queues and logs: embedded, RabbitMQ, Kafka, Redis Streams, JetStream",
  groups: "embedded, RabbitMQ, Kafka, Redis Streams, NATS",
  orderByKey: "embedded and Kafka",
  fromEarliest: "transports that keep a log: embedded, Kafka, Redis Streams, JetStream",
  fromPosition: "transports that keep a log: embedded, Kafka, Redis Streams, JetStream",
  fromTime: "transports that keep a log: embedded, Kafka, Redis Streams, JetStream",
  transaction: "embedded and Kafka",
  patterns: "embedded, RabbitMQ, Redis Pub/Sub, NATS",
  delay: "embedded and RabbitMQ",
  priority: "embedded and RabbitMQ",
  inbox: "embedded, RabbitMQ, NATS, ZeroMQ",
};

export function lacks(transport: Transport, name: CapabilityName, what: string, topic: string | undefined): WaybillError {
  const why = transport.capabilities(topic)[name].why;
  const where = topic === undefined ? "" : ` on "${topic}"`;
  const who = whoCan[name];
  return new WaybillError(
    "CAPABILITY",
    `${transport.name} cannot do "${what}"${where}${why === undefined ? "" : `: ${why}`}`,
    who === undefined ? {} : { remedy: `these can: ${who}; or drop the option` },
  );
}

/** Throws `CAPABILITY` for the first thing that the plan needs and the transport does not have. */
export function checkPlan(transport: Transport, plan: Plan): void {
  const subject = plan.topic ?? plan.pattern;
  const can = transport.capabilities(subject);
  const need = (name: CapabilityName, what: string): void => {
    if (can[name].level === "none") throw lacks(transport, name, what, subject);
  };
  need("groups", "group");
  if (plan.pattern !== undefined) need("patterns", "pattern");
  if (plan.delivery === "at-least-once") need("settle", 'at-least-once delivery (ask for delivery: "at-most-once" by name)');
  if (plan.orderBy === "key") need("orderByKey", 'orderBy: "key"');
  if (plan.from === "earliest") need("fromEarliest", 'from: "earliest"');
  else if (typeof plan.from === "object") {
    if ("position" in plan.from) need("fromPosition", "from a position");
    else need("fromTime", "from a time");
  }
  checkExactlyOnce(transport, plan, need);
}

function checkExactlyOnce(transport: Transport, plan: Plan, need: (name: CapabilityName, what: string) => void): void {
  if (plan.exactlyOnce === undefined) return;
  need("settle", "exactlyOnce");
  if (plan.exactlyOnce === "transport" || plan.exactlyOnce.joins(transport))
    need("transaction", "exactlyOnce in the transport's own transaction");
}

export function guaranteeOf(can: Capabilities): Guarantee {
  const settles = can.settle.level !== "none";
  return {
    delivery: settles ? "at-least-once" : "at-most-once",
    durability: can.durability,
    order: can.orderByKey.level === "none" ? "none" : "key",
    // By the inbox of a store, whatever the transport.
    effect: settles ? "exactly-once" : "none",
  };
}

/** Throws `CAPABILITY` naming the first part of the required tuple that does not hold. */
export function checkGuarantee(transport: Transport, required: Partial<Guarantee>): void {
  const given = guaranteeOf(transport.capabilities());
  const missing =
    (required.delivery === "at-least-once" && given.delivery !== "at-least-once" && 'delivery: "at-least-once"') ||
    (required.durability !== undefined &&
      required.durability > given.durability &&
      `durability: "${required.durability}" (it gives ${given.durability})`) ||
    (required.order === "key" && given.order !== "key" && 'order: "key"') ||
    (required.effect === "exactly-once" && given.effect !== "exactly-once" && 'effect: "exactly-once"');
  if (typeof missing === "string") throw new WaybillError("CAPABILITY", `${transport.name} cannot give the required ${missing}`);
}
