import { durationMs } from "@waybill/core";
import type { Settings, StreamOptions } from "./options.ts";

export type Arguments = Record<string, string | number | boolean>;

/** Of a group's queue. */
export function queueArguments(settings: Settings, version: string, keyed: boolean): Arguments {
  const { queueType, deliveryLimit, initialGroupSize, maxPriority } = settings;
  const all: Arguments = { "x-queue-type": queueType };
  if (queueType === "quorum") {
    // Before RabbitMQ 4 none is the default, and -1 would be taken for a number of deliveries.
    if (deliveryLimit !== undefined) all["x-delivery-limit"] = deliveryLimit;
    else if (majorOf(version) >= 4) all["x-delivery-limit"] = -1;
    if (initialGroupSize !== undefined) all["x-quorum-initial-group-size"] = initialGroupSize;
  } else if (maxPriority !== undefined) all["x-max-priority"] = maxPriority;
  if (keyed) all["x-single-active-consumer"] = true;
  return { ...all, ...settings.queueArguments };
}

export function streamArguments({ maxAge, maxBytes }: StreamOptions): Arguments {
  const all: Arguments = { "x-queue-type": "stream" };
  if (maxBytes !== undefined) all["x-max-length-bytes"] = maxBytes;
  if (maxAge !== undefined) all["x-max-age"] = `${Math.ceil(durationMs(maxAge, "stream.maxAge") / 1_000)}s`;
  return all;
}

export function majorOf(version: string): number {
  return Number.parseInt(version, 10) || 0;
}
