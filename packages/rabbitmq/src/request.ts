import { WaybillError, type SubscribeRequest } from "@waybill/core";
import { isStream } from "./capabilities.ts";
import type { Settings } from "./options.ts";

/** @throws `CONFIG`, `CAPABILITY` */
export function checkRequest({ topic, pattern, inbox, group, order, leaseMs, from }: SubscribeRequest, settings: Settings): void {
  const ways = [topic !== undefined, pattern !== undefined, inbox].filter(Boolean).length;
  if (ways !== 1) throw new WaybillError("CONFIG", "subscribe: expected exactly one of topic, pattern and inbox");
  if (inbox && group !== undefined) throw new WaybillError("CONFIG", "subscribe: an inbox has no group");
  if (order === "key" && group === undefined) throw new WaybillError("CONFIG", "subscribe: order is among the members of a group");
  if (!(leaseMs > 0)) throw new WaybillError("CONFIG", "subscribe: expected a leaseMs above 0");
  if (from === "latest") return;
  if (group !== undefined) throw new WaybillError("CAPABILITY", "from: a queue keeps only what its group has not settled: start at latest");
  if (topic === undefined || !isStream(settings, topic))
    throw new WaybillError("CAPABILITY", "from: only a topic with option stream is kept for readers: start at latest");
}
