/**
 * The members of the contract, so that the suite can tell what no case names. Each list is held to its type:
 * a member that is added to the contract breaks the build here until a case covers it.
 */
import { capabilityNames } from "@waybill/core";
import type { CapabilityName, Delivery, Message, Settlement, SubscribeRequest } from "@waybill/core";

type KeysOfAny<T> = T extends unknown ? keyof T : never;
export type SettlementField = KeysOfAny<Settlement>;

export const messageFields: Readonly<Record<keyof Message, true>> = {
  id: true,
  topic: true,
  group: true,
  key: true,
  body: true,
  headers: true,
  time: true,
  deliverAt: true,
  expiresAt: true,
  priority: true,
  replyTo: true,
  correlationId: true,
  mandatory: true,
  native: true,
};

export const deliveryFields: Readonly<Record<keyof Delivery, true>> = {
  message: true,
  attempt: true,
  position: true,
  part: true,
  generation: true,
  leaseMs: true,
  note: true,
  takenOver: true,
  handle: true,
};

export const subscribeFields: Readonly<Record<keyof SubscribeRequest, true>> = {
  topic: true,
  pattern: true,
  group: true,
  from: true,
  credit: true,
  leaseMs: true,
  order: true,
  inbox: true,
  native: true,
  signal: true,
  onEvent: true,
};

export const settlementFields: Readonly<Record<SettlementField, true>> = {
  kind: true,
  delivery: true,
  delayMs: true,
  note: true,
  topic: true,
  headers: true,
};

/** What a case names in `covers`. */
export type Covered =
  | `message.${keyof Message}`
  | `delivery.${keyof Delivery}`
  | `subscribe.${keyof SubscribeRequest}`
  | `settlement.${SettlementField}`
  | `capability.${CapabilityName}`;

/** Every member that at least one case has to name. */
export const mustCover: readonly Covered[] = [
  ...Object.keys(messageFields).map((field) => `message.${field}` as Covered),
  ...Object.keys(deliveryFields).map((field) => `delivery.${field}` as Covered),
  ...Object.keys(subscribeFields).map((field) => `subscribe.${field}` as Covered),
  ...Object.keys(settlementFields).map((field) => `settlement.${field}` as Covered),
  ...capabilityNames.map((name) => `capability.${name}` as Covered),
];
