import { ConfigResourceTypes, describeConfigsV4, type Connection } from "@platformatic/kafka";
import type { Durability } from "@waybill/core";
import type { Settings } from "../options.ts";
import { call } from "./call.ts";
import { codes } from "./codes.ts";

/** What the brokers' own settings allow and promise, for topics that have none of their own. */
export interface Limits {
  readonly maxBodyBytes: number;
  /** Of a topic with so many replicas. */
  durability(replicas: number | undefined): Durability;
}

const usualBodyBytes = 1_000_000;
/** Around a body: its batch, its key and its headers. */
const aroundBytes = 48_000;
const keys = ["message.max.bytes", "min.insync.replicas", "default.replication.factor"];

/** Asked of one broker; whoever may not ask gets what is usual, and the smallest promise. */
export async function askLimits(connection: Connection, nodeId: number, settings: Settings): Promise<Limits> {
  const found = await ask(connection, nodeId);
  const maxBytes = Number(found.get("message.max.bytes"));
  const { maxBodyBytes, topics } = settings;
  const insync = Number(topics.settings?.["min.insync.replicas"] ?? found.get("min.insync.replicas") ?? 1);
  const usualReplicas = topics.replicationFactor ?? Number(found.get("default.replication.factor") ?? 1);
  return {
    maxBodyBytes: maxBodyBytes ?? (maxBytes > 0 ? Math.max(1_024, Math.min(usualBodyBytes, maxBytes - aroundBytes)) : usualBodyBytes),
    // A confirm of two nodes outlives one of them. No broker waits for its disk, as it is usually set up.
    durability: (replicas = usualReplicas) => (replicas >= 3 && insync >= 2 ? "D3" : "D1"),
  };
}

async function ask(connection: Connection, nodeId: number): Promise<ReadonlyMap<string, string>> {
  const resource = { resourceType: ConfigResourceTypes.BROKER, resourceName: String(nodeId), configurationKeys: keys };
  const { results } = await call(describeConfigsV4.api, connection, [resource], false, false);
  const [answer] = results;
  const found = new Map<string, string>();
  if (answer?.errorCode !== codes.none) return found;
  for (const { name, value } of answer.configs) if (typeof value === "string") found.set(name, value);
  return found;
}
