import type { Message } from "@waybill/core";
import { headerNames } from "./header-names.ts";

/** A record, as far as a message is made of it. Header names and values in turn. */
export interface RecordLike {
  readonly offset: number;
  readonly time: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly (Uint8Array | null)[];
}

/** Where a record was read: the log's own topic and partition, and what topic (and group) it stands for. */
export interface Origin {
  readonly log: string;
  readonly partition: number;
  readonly topic: string;
  readonly group: string | undefined;
}

/**
 * A record of anybody's. Without our id it is named after its place, which is the same for every reader. Header names are
 * lower-cased; of two with one name the last counts, and one without a value is empty.
 */
export function messageOf(record: RecordLike, { log, partition, topic, group }: Origin): Message {
  const headers = Object.create(null) as Record<string, string>;
  let id: string | undefined;
  let deliverAt: number | undefined;
  let expiresAt: number | undefined;
  let replyTo: string | undefined;
  let correlationId: string | undefined;
  const given = record.headers;
  for (let index = 0; index + 1 < given.length; index += 2) {
    const name = textOf(given[index] ?? null).toLowerCase();
    const value = textOf(given[index + 1] ?? null);
    switch (name) {
      case headerNames.id:
        id = value;
        break;
      case headerNames.deliverAt:
        deliverAt = timeOf(value);
        break;
      case headerNames.expiresAt:
        expiresAt = timeOf(value);
        break;
      case headerNames.replyTo:
        replyTo = value;
        break;
      case headerNames.correlationId:
        correlationId = value;
        break;
      default:
        headers[name] = value;
    }
  }
  return {
    id: id === undefined || id === "" ? `${log}/${partition}/${record.offset}` : id,
    topic,
    group,
    key: record.key === null ? undefined : textOf(record.key),
    body: record.value,
    headers,
    time: record.time,
    deliverAt,
    expiresAt,
    priority: undefined,
    replyTo,
    correlationId,
    mandatory: false,
    native: undefined,
  };
}

function textOf(bytes: Uint8Array | null): string {
  return bytes === null ? "" : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
}

/** What is no time is not one. */
function timeOf(text: string): number | undefined {
  const value = Number(text);
  return text !== "" && Number.isFinite(value) ? value : undefined;
}
