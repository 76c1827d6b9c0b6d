import { createHash } from "node:crypto";
import type { Headers, Message, OutboxRow } from "@waybill/core";

/** A column that everything fits into: PostgreSQL's text has no NUL and no lone surrogate, and an index takes no long value. */
const mark = "\u0001";
const maxIndexed = 600;

/** Different texts stay different. */
export function toColumn(text: string): string {
  if (text.length <= maxIndexed && !text.includes("\0") && !text.startsWith(mark) && text.isWellFormed()) return text;
  // Of the code units: lone surrogates all look alike in UTF-8.
  return `${mark}${createHash("sha256").update(Buffer.from(text, "utf16le")).digest("base64url")}`;
}

/** Of the column `message`; the body has its own. */
interface Stored {
  readonly id: string;
  readonly group?: string;
  readonly key?: string;
  readonly headers: Headers;
  readonly time: number;
  readonly deliverAt?: number;
  readonly expiresAt?: number;
  readonly priority?: number;
  readonly replyTo?: string;
  readonly correlationId?: string;
  readonly mandatory?: true;
  readonly native?: unknown;
  /** Where the column has only its hash. */
  readonly topic?: string;
}

export interface Columns {
  readonly orderKey: string | null;
  readonly topic: string;
  readonly message: string;
  readonly body: Buffer | null;
}

/** Throws what `JSON.stringify` throws for native options that are no plain data. */
export function toColumns(message: Message): Columns {
  const { id, group, key, headers, time, deliverAt, expiresAt, priority, replyTo, correlationId, mandatory, native } = message;
  const topic = toColumn(message.topic);
  const stored: Stored = {
    id,
    ...(group === undefined ? {} : { group }),
    ...(key === undefined ? {} : { key }),
    headers,
    time,
    ...(deliverAt === undefined ? {} : { deliverAt }),
    ...(expiresAt === undefined ? {} : { expiresAt }),
    ...(priority === undefined ? {} : { priority }),
    ...(replyTo === undefined ? {} : { replyTo }),
    ...(correlationId === undefined ? {} : { correlationId }),
    ...(mandatory ? { mandatory } : {}),
    ...(native === undefined ? {} : { native }),
    ...(topic === message.topic ? {} : { topic: message.topic }),
  };
  const body = message.body as Uint8Array | null;
  return {
    orderKey: key === undefined ? null : toColumn(`${message.topic}|${key}`),
    topic,
    message: JSON.stringify(stored),
    body: body === null ? null : Buffer.from(body.buffer, body.byteOffset, body.byteLength),
  };
}

export interface TakenRow {
  readonly id: string;
  readonly topic: string;
  /** As text: a number of JSON is not always one of JavaScript's, but these are. */
  readonly message: string;
  readonly body: Buffer | null;
}

export function toOutboxRow({ id, topic, message, body }: TakenRow): OutboxRow {
  const stored = JSON.parse(message) as Stored;
  const headers = Object.assign(Object.create(null) as Record<string, string>, stored.headers);
  return {
    row: Number(id),
    message: {
      id: stored.id,
      topic: stored.topic ?? topic,
      group: stored.group,
      key: stored.key,
      body,
      headers,
      time: stored.time,
      deliverAt: stored.deliverAt,
      expiresAt: stored.expiresAt,
      priority: stored.priority,
      replyTo: stored.replyTo,
      correlationId: stored.correlationId,
      mandatory: stored.mandatory === true,
      native: stored.native,
    },
  };
}
