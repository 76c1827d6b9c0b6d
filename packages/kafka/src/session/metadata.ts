import { createTopicsV7, metadataV12, type Connection } from "@platformatic/kafka";
import { WaybillError, type Clock } from "@waybill/core";
import type { Settings } from "../options.ts";
import type { BrokerAddress } from "./address.ts";
import { call } from "./call.ts";
import { codes } from "./codes.ts";
import type { MetadataOptions, TopicMetadata } from "./session.ts";

/** What is known of brokers and topics, and how it is asked. */
export interface Metadata {
  readonly brokers: ReadonlyMap<number, BrokerAddress>;
  /** Asks for the brokers alone. */
  refresh(connection: Connection): Promise<void>;
  topics(names: readonly string[], options: MetadataOptions): Promise<ReadonlyMap<string, TopicMetadata>>;
  peek(topic: string): TopicMetadata | undefined;
  names(): Promise<readonly string[]>;
  forget(topic: string): void;
}

export interface MetadataHost {
  readonly settings: Settings;
  readonly clock: Clock;
  control(): Promise<Connection>;
  pause(delayMs: number): Promise<boolean>;
  readonly created: (topic: string) => void;
}

interface Batch {
  readonly names: Set<string>;
  readonly done: Promise<void>;
}

const defaultAgeMs = 60_000;
const settleMs = 50;

export function createMetadata({ settings, clock, control, pause, created }: MetadataHost): Metadata {
  const brokers = new Map<number, BrokerAddress>();
  const known = new Map<string, { readonly topic: TopicMetadata; readonly at: number }>();
  let current: Promise<void> = Promise.resolve();
  let next: Batch | undefined;

  /** One question at a time; what is asked meanwhile goes together into the next. */
  function ask(names: readonly string[]): Promise<void> {
    if (next === undefined) {
      const wanted = new Set<string>();
      const start = (): Promise<void> => {
        next = undefined;
        return fetchTopics([...wanted]);
      };
      next = { names: wanted, done: current.then(start, start) };
      current = next.done.catch(() => undefined);
    }
    for (const name of names) next.names.add(name);
    return next.done;
  }

  async function fetchTopics(names: readonly string[]): Promise<void> {
    const answer = await call(metadataV12.api, await control(), [...names], false, false);
    learn(answer.brokers);
    const now = clock.monotonic();
    for (const { name, topicId, errorCode, partitions } of answer.topics) {
      if (typeof name !== "string") continue;
      if (errorCode !== codes.none || partitions.length === 0) {
        known.delete(name);
        continue;
      }
      const sorted = partitions
        .toSorted((a, b) => a.partitionIndex - b.partitionIndex)
        .map(({ partitionIndex, leaderId, replicaNodes }) => ({ partition: partitionIndex, leader: leaderId, replicas: replicaNodes }));
      known.set(name, { topic: { name, topicId, partitions: sorted }, at: now });
    }
  }

  function learn(found: readonly { readonly nodeId: number; readonly host: string; readonly port: number }[]): void {
    if (found.length === 0) return;
    brokers.clear();
    for (const { nodeId, host, port } of found) brokers.set(nodeId, { host, port });
  }

  async function topics(names: readonly string[], { maxAgeMs = defaultAgeMs, create = false }: MetadataOptions) {
    const now = clock.monotonic();
    const stale = names.filter((name) => {
      const at = known.get(name)?.at;
      return at === undefined || (maxAgeMs <= 0 ? true : now - at >= maxAgeMs);
    });
    if (stale.length > 0) await ask(stale);
    const missing = create && settings.createTopics ? names.filter((name) => !known.has(name)) : [];
    if (missing.length > 0) await make(missing);
    const found = new Map<string, TopicMetadata>();
    for (const name of names) {
      const entry = known.get(name);
      if (entry !== undefined) found.set(name, entry.topic);
    }
    return found;
  }

  async function make(names: readonly string[]): Promise<void> {
    const { partitions = -1, replicationFactor = -1, settings: given = {} } = settings.topics;
    const configs = Object.entries(given).map(([name, value]) => ({ name, value }));
    const asked = names.map((name) => ({ name, numPartitions: partitions, replicationFactor, assignments: [], configs }));
    const answer = await call(createTopicsV7.api, await control(), asked, settings.requestTimeoutMs, false);
    for (const { name, errorCode } of answer.topics) {
      if (errorCode !== codes.none && errorCode !== codes.topicAlreadyExists) throw refusalOf(name, errorCode);
    }
    // The brokers learn of it one after the other.
    const deadline = clock.monotonic() + settings.requestTimeoutMs;
    for (;;) {
      await ask(names);
      if (names.every((name) => known.get(name)?.topic.partitions.every(({ leader }) => leader >= 0))) break;
      if (clock.monotonic() > deadline) throw new WaybillError("CONNECTION", "new topics have no leader yet");
      if (!(await pause(settleMs))) throw new WaybillError("CLOSED", "the transport is closed");
    }
    for (const name of names) created(name);
  }

  return {
    brokers,
    async refresh(connection) {
      learn((await call(metadataV12.api, connection, [], false, false)).brokers);
    },
    topics,
    peek: (topic) => known.get(topic)?.topic,
    async names() {
      const answer = await call(metadataV12.api, await control(), null, false, false);
      learn(answer.brokers);
      return answer.topics.flatMap(({ name, isInternal, errorCode }) =>
        typeof name !== "string" || isInternal || errorCode !== codes.none ? [] : [name],
      );
    },
    forget: (topic) => void known.delete(topic),
  };
}

function refusalOf(topic: string, errorCode: number): WaybillError {
  switch (errorCode) {
    case codes.invalidTopic:
      return new WaybillError("NAME", `Kafka takes no topic of the name "${topic}"`, {
        remedy: "at most 249 letters, digits, '.', '_' and '-', and none that differs from another topic in '.' and '_' alone",
      });
    case codes.topicAuthorizationFailed:
    case codes.clusterAuthorizationFailed:
      return new WaybillError("AUTH", `this user may not create the topic "${topic}"`, {
        remedy: "create it, or let the user create topics",
      });
    case codes.invalidPartitions:
    case codes.invalidConfig:
    case codes.policyViolation:
      return new WaybillError("TOPOLOGY", `Kafka refused to create the topic "${topic}" (error ${errorCode})`, {
        remedy: "correct the option topics, or create it by hand",
      });
    default:
      // No broker is there yet that could hold its replicas, or no controller.
      return new WaybillError("CONNECTION", `Kafka did not create the topic "${topic}" (error ${errorCode})`);
  }
}
