/**
 * What stands in each `format-….db.gz`. Files of a format never change: a new format gets a new file, made by running this with the
 * path to write (`node --conditions=@waybill/source golden.fixture.ts <path>`), and the older ones must go on opening.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { gzipSync } from "node:zlib";
import type { Message } from "@waybill/core";
import { message, never, publishAll, take, until } from "../test.fixture.ts";
import { embedded, type EmbeddedTransport } from "../transport.ts";

const base: Partial<Message> = { time: 1_790_000_000_000 };
const headers = Object.assign(Object.create(null) as Record<string, string>, { "content-type": "text/plain", name: "wörth" });

export const goldenMessages: readonly Message[] = [
  message("orders.placed", "acknowledged", { ...base, id: "g-1" }),
  message("orders.placed", "retried", { ...base, id: "g-2", key: "schlüssel", headers, correlationId: "c" }),
  message("orders.placed", "in hand", { ...base, id: "g-3", priority: 7 }),
  message("orders.placed", "", { ...base, id: "g-4", body: null, key: "k" }),
  message("orders.placed", "for one group", { ...base, id: "g-5", group: "search" }),
  message("orders.paid", "unread", { ...base, id: "g-6", expiresAt: 8_640_000_000_000_000 }),
  message("orders.placed", "dead", { ...base, id: "g-7" }),
];

export const goldenGroups = [
  { topic: "orders.placed", group: "billing" },
  { topic: "orders.placed", group: "search" },
] as const;

async function fill(transport: EmbeddedTransport): Promise<void> {
  await transport.declare!({ topics: ["orders.paid"], groups: goldenGroups });
  const taken = await take(transport, { topic: "orders.placed", group: "billing" });
  for (const one of goldenMessages) await publishAll(transport, [one]);
  await until("all of the group", () => taken.got.length === 5);
  const of = (id: string) => taken.got.find((delivery) => delivery.message.id === id)!;
  await taken.subscription.settle([
    { kind: "ack", delivery: of("g-1") },
    { kind: "retry", delivery: of("g-2"), delayMs: 0, note: "second try" },
    { kind: "dead-letter", delivery: of("g-7"), topic: "dead-letters.billing", headers: { cause: "for the test" } },
  ]);
  const transaction = transport.store.begin({ signal: never });
  await transaction.tx.run("create table stock (sku text primary key, count integer)");
  await transaction.tx.run("insert into stock values ('a', 5)");
  await transaction.claim("billing", "g-1");
  await transaction.enqueue([message("orders.shipped", "in the outbox", { ...base, id: "g-8", key: "k" })]);
  await transaction.commit();
}

if (process.argv[1] === import.meta.filename && process.argv[2] !== undefined) {
  const path = `${process.argv[2]}.making`;
  const transport = embedded({ path });
  await transport.connect({ signal: never, onStatus: () => undefined });
  await fill(transport);
  await transport.close();
  const db = new DatabaseSync(path);
  db.exec("vacuum; pragma wal_checkpoint(truncate)");
  db.close();
  writeFileSync(process.argv[2], gzipSync(readFileSync(path), { level: 9 }));
  rmSync(path);
}
