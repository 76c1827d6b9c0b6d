import type { Delivery, Message } from "@waybill/core";
import type { ConsumeMessage } from "amqplib";
import type { Redelivery } from "./keyed.ts";
import { attemptsBefore, returnsOf } from "./properties.ts";

/** What a delivery of a group carries for us: as it came, or as it was handed out once more. */
export type Handle = ConsumeMessage | Redelivery;

export interface DeliveryOptions {
  readonly generation: number;
  /** Its queue tells how often a message came back; else only that it did. */
  readonly counts: boolean;
  readonly due: Redelivery | undefined;
}

export function toDelivery(raw: ConsumeMessage, message: Message, { generation, counts, due }: DeliveryOptions): Delivery {
  const returns = returnsOf(raw);
  const counted = counts && (returns > 0 || !raw.fields.redelivered);
  const before = due?.attempt ?? attemptsBefore(raw) + returns;
  return {
    message: due?.note === undefined ? message : { ...message, headers: withNote(message.headers, due.note) },
    attempt: counted ? before + 1 : undefined,
    position: undefined,
    part: "",
    generation,
    leaseMs: undefined,
    note: undefined,
    takenOver: !counted && raw.fields.redelivered,
    handle: (due ?? raw) satisfies Handle,
  };
}

function withNote(headers: Message["headers"], note: string): Message["headers"] {
  return Object.assign(Object.create(null) as Record<string, string>, headers, { "waybill-note": note });
}
