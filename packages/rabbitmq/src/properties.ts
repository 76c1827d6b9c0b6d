import { randomBytes } from "node:crypto";
import { WaybillError, type Headers, type Message } from "@waybill/core";
import type { Message as AmqpMessage, Options } from "amqplib";

/** Fields that AMQP has no property for. */
export const wireHeaders = {
  topic: "waybill-topic",
  key: "waybill-key",
  time: "waybill-time",
  expiresAt: "waybill-expires-at",
  deliverAt: "waybill-deliver-at",
  tombstone: "waybill-tombstone",
  /** Deliveries before this copy was written. */
  attempts: "waybill-attempts",
  /** To be taken alone. */
  careful: "waybill-careful",
} as const;

const ours: ReadonlySet<string> = new Set(Object.values(wireHeaders));
/** What the broker itself writes into the headers. */
const brokers: ReadonlySet<string> = new Set([
  "x-delivery-count",
  "x-acquired-count",
  "x-death",
  "x-stream-offset",
  "x-stream-filter-value",
]);
const brokersPrefixes = ["x-first-death-", "x-last-death-", "x-opt-"];

export interface Extra {
  /** Where the routing key does not tell it. */
  readonly topic?: string;
  /** Milliseconds that the broker keeps it; 0: not at all unless somebody waits for it. */
  readonly expirationMs?: number;
  readonly attempts?: number;
  readonly careful?: boolean;
  readonly note?: string;
}

type Properties = Options.Publish;

/** @throws `CONFIG` what AMQP cannot carry: nothing was written then. */
export function toProperties(message: Message, extra: Extra, persistent: boolean): Properties {
  const headers: Record<string, string> = {};
  const properties: Properties = { messageId: short(message.id, "id"), headers, deliveryMode: persistent ? 2 : 1 };
  for (const name in message.headers) {
    const value = message.headers[name] as string;
    if (name === "content-type") properties.contentType = short(value, "header content-type");
    else if (name === "content-encoding") properties.contentEncoding = short(value, "header content-encoding");
    else headers[short(name, "a header's name")] = whole(value, "a header's value");
  }
  properties.timestamp = Math.max(0, Math.floor(message.time / 1_000));
  headers[wireHeaders.time] = String(message.time);
  if (message.key !== undefined) headers[wireHeaders.key] = whole(message.key, "key");
  if (message.body === null) headers[wireHeaders.tombstone] = "1";
  if (message.correlationId !== undefined) properties.correlationId = short(message.correlationId, "correlationId");
  if (message.replyTo !== undefined) properties.replyTo = short(message.replyTo, "replyTo");
  if (message.priority !== undefined) properties.priority = message.priority;
  if (message.expiresAt !== undefined) headers[wireHeaders.expiresAt] = String(message.expiresAt);
  if (message.deliverAt !== undefined) headers[wireHeaders.deliverAt] = String(message.deliverAt);
  if (extra.expirationMs !== undefined) properties.expiration = String(Math.max(0, Math.ceil(extra.expirationMs)));
  if (extra.topic !== undefined) headers[wireHeaders.topic] = extra.topic;
  if (extra.attempts !== undefined) headers[wireHeaders.attempts] = String(extra.attempts);
  if (extra.careful === true) headers[wireHeaders.careful] = "1";
  if (extra.note !== undefined) headers["waybill-note"] = extra.note;
  return properties;
}

function short(text: string, what: string): string {
  whole(text, what);
  if (text.length > 255 || (text.length > 85 && Buffer.byteLength(text) > 255))
    throw new WaybillError("CONFIG", `${what}: AMQP carries at most 255 bytes of it`);
  return text;
}

function whole(text: string, what: string): string {
  if (!text.isWellFormed()) throw new WaybillError("CONFIG", `${what}: half of a surrogate pair cannot be carried`);
  return text;
}

/** `known`: the topic that whoever reads it subscribed to. Made by anybody: what is missing or odd never throws. */
export function toMessage({ content, fields, properties }: AmqpMessage, known: string | undefined): Message {
  const table: Readonly<Record<string, unknown>> = properties.headers ?? none;
  const text = (name: string): string | undefined => {
    const value = table[name];
    return value === undefined ? undefined : asText(value);
  };
  return {
    id: properties.messageId === undefined ? foreignId() : String(properties.messageId),
    topic: known ?? text(wireHeaders.topic) ?? fields.routingKey,
    group: undefined,
    key: text(wireHeaders.key),
    body: wireHeaders.tombstone in table ? null : content,
    headers: headersOf(table, properties.contentType, properties.contentEncoding),
    time: timeOf(text(wireHeaders.time)) ?? (typeof properties.timestamp === "number" ? properties.timestamp * 1_000 : Date.now()),
    deliverAt: timeOf(text(wireHeaders.deliverAt)),
    expiresAt: timeOf(text(wireHeaders.expiresAt)),
    priority: typeof properties.priority === "number" && properties.priority <= 9 ? properties.priority : undefined,
    replyTo: properties.replyTo === undefined ? undefined : String(properties.replyTo),
    correlationId: properties.correlationId === undefined ? undefined : String(properties.correlationId),
    mandatory: false,
    native: undefined,
  };
}

const none: Readonly<Record<string, unknown>> = Object.freeze({});

/** Deliveries before this copy was written; 0 for what is no such copy, and for nonsense. */
export function attemptsBefore({ properties }: AmqpMessage): number {
  const value = Number(properties.headers?.[wireHeaders.attempts] ?? 0);
  return Number.isSafeInteger(value) && value >= 0 && value < 1_000_000 ? value : 0;
}

/** As a quorum queue counts. */
export function returnsOf({ properties }: AmqpMessage): number {
  const value: unknown = properties.headers?.["x-delivery-count"];
  return typeof value === "number" ? value : 0;
}

function headersOf(table: Readonly<Record<string, unknown>>, contentType: unknown, contentEncoding: unknown): Headers {
  const headers = Object.create(null) as Record<string, string>;
  for (const name in table) {
    if (ours.has(name) || brokers.has(name) || brokersPrefixes.some((prefix) => name.startsWith(prefix))) continue;
    const value = asText(table[name]);
    if (value !== undefined) headers[name.toLowerCase()] = value;
  }
  if (contentType !== undefined) headers["content-type"] = asText(contentType) ?? "";
  if (contentEncoding !== undefined) headers["content-encoding"] = asText(contentEncoding) ?? "";
  return headers;
}

/** Other clients write numbers, flags, times and tables. */
function asText(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (value === null || value === undefined) return undefined;
  if (Buffer.isBuffer(value)) return value.toString("utf8");
  if (typeof value === "object") {
    const { "!": type, value: inner } = value as { readonly "!"?: unknown; readonly value?: unknown };
    return type === undefined ? JSON.stringify(value) : asText(inner);
  }
  return typeof value === "number" || typeof value === "boolean" || typeof value === "bigint" ? String(value) : undefined;
}

function timeOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const time = Number(text);
  return Number.isFinite(time) ? time : undefined;
}

/** Of a message without one: another at each delivery, since nothing in it says that it is the same. */
function foreignId(): string {
  return `amqp-${randomBytes(12).toString("hex")}`;
}
