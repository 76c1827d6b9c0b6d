import type { Headers, Message } from "@waybill/core";
import { headerNames } from "../wire/header-names.ts";
import { createBytes, ensure, writeText, type Bytes } from "./bytes.ts";

const names: ReadonlyMap<string, Buffer> = new Map(
  Object.values(headerNames).map((name) => {
    const bytes = createBytes(64);
    writeText(bytes, name);
    return [name, Buffer.from(bytes.buffer.subarray(0, bytes.at))];
  }),
);

/** Messages of one contract mostly share one object of headers: seen twice in a row, it is copied from then on. */
let last: Headers | undefined;
let lastBlock: Buffer | undefined;

export function countHeaders({ headers, deliverAt, expiresAt, replyTo, correlationId }: Message): number {
  let count = 1;
  for (const _ in headers) count += 1;
  if (deliverAt !== undefined) count += 1;
  if (expiresAt !== undefined) count += 1;
  if (replyTo !== undefined) count += 1;
  if (correlationId !== undefined) count += 1;
  return count;
}

export function writeHeaders(bytes: Bytes, { id, headers, deliverAt, expiresAt, replyTo, correlationId }: Message): void {
  write(bytes, headerNames.id, id);
  if (deliverAt !== undefined) write(bytes, headerNames.deliverAt, String(deliverAt));
  if (expiresAt !== undefined) write(bytes, headerNames.expiresAt, String(expiresAt));
  if (replyTo !== undefined) write(bytes, headerNames.replyTo, replyTo);
  if (correlationId !== undefined) write(bytes, headerNames.correlationId, correlationId);
  if (headers === last && lastBlock !== undefined) {
    ensure(bytes, lastBlock.length);
    bytes.buffer.set(lastBlock, bytes.at);
    bytes.at += lastBlock.length;
    return;
  }
  const start = bytes.at;
  for (const name in headers) {
    writeText(bytes, name);
    writeText(bytes, headers[name] as string);
  }
  lastBlock = headers === last ? Buffer.from(bytes.buffer.subarray(start, bytes.at)) : undefined;
  last = headers;
}

function write(bytes: Bytes, name: string, value: string): void {
  const head = names.get(name) as Buffer;
  ensure(bytes, head.length);
  bytes.buffer.set(head, bytes.at);
  bytes.at += head.length;
  writeText(bytes, value);
}
