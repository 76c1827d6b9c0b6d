import { WaybillError, type Lanes, type Message, type PublishOutcome } from "@waybill/core";
import type { Cluster } from "../session/cluster.ts";
import { wrap } from "../session/errors.ts";
import type { TopicMetadata } from "../session/session.ts";
import { inboxPrefix, logTopicOf } from "../wire/names.ts";
import type { Settings } from "../options.ts";
import { createLimit, type Limit } from "./limit.ts";
import { hashOf, type Hash } from "./partitioner.ts";
import { createProducer, type PartitionQueue, type Producer } from "./producer.ts";
import { refusalOf, type KafkaPublishNative } from "./refusal.ts";

export interface Publishing {
  publish(messages: readonly Message[], signals: readonly AbortSignal[]): Promise<readonly PublishOutcome[]>;
  /** Resolves when nothing is on its way any more. */
  idle(): Promise<void>;
}

/**
 * Each lane is a producer with one write on its way. A key always goes by the same lane, whatever the number of partitions; where
 * the number of producers divides that of partitions, no two producers write to the same one.
 */
export function lanesOf({ producers, partitioner }: Settings): Lanes {
  const hash = hashOf(partitioner);
  const names = Array.from({ length: producers }, (_, index) => String(index));
  return {
    of: (message) => names[laneOf(message, hash, producers)] as string,
    batches: 1,
    maxMessages: 1_000,
    maxBytes: 768 * 1024,
  };
}

function laneOf({ native, key, topic }: Message, hash: Hash, producers: number): number {
  const partition = partitionIn(native);
  return (partition ?? hash(key ?? topic)) % producers;
}

function partitionIn(native: unknown): number | undefined {
  const partition = (native as KafkaPublishNative | undefined)?.partition;
  return typeof partition === "number" && Number.isInteger(partition) && partition >= 0 ? partition : undefined;
}

interface Lane {
  readonly producer: Producer;
  /** Of the last call; the next waits for it. */
  tail: Promise<void>;
}

export function createPublishing(cluster: Cluster, maxBodyBytes: number): Publishing {
  const { settings, clock } = cluster;
  const hash = hashOf(settings.partitioner);
  const lanes = Array.from({ length: settings.producers }, (_, index): Lane => ({
    producer: createProducer(cluster, String(index)),
    tail: Promise.resolve(),
  }));
  let turn = 0;

  async function publish(messages: readonly Message[], signals: readonly AbortSignal[]): Promise<readonly PublishOutcome[]> {
    const outcomes: PublishOutcome[] = [];
    const limit = createLimit(clock, settings.deliveryTimeoutMs, [...signals, cluster.signal]);
    try {
      const indexes = accepted(messages, outcomes, maxBodyBytes);
      const topics = await topicsOf(messages, indexes, outcomes, limit);
      const byLane = deal(messages, indexes, topics, outcomes);
      await Promise.all([...byLane].map(([lane, queues]) => inTurn(lanes[lane] as Lane, [...queues.values()], outcomes, limit)));
    } finally {
      limit.end();
    }
    return outcomes;
  }

  /** What is known or made of the topics; a topic that cannot be had is the error of its messages alone. */
  async function topicsOf(
    messages: readonly Message[],
    indexes: readonly number[],
    outcomes: PublishOutcome[],
    limit: Limit,
  ): Promise<ReadonlyMap<string, TopicMetadata>> {
    const found = new Map<string, TopicMetadata>();
    const failures = new Map<string, WaybillError>();
    const strict = new Set<string>();
    const loose = new Set<string>();
    for (const index of indexes) {
      const message = messages[index] as Message;
      const log = logTopicOf(message);
      // Nobody makes the inbox of somebody who has left; a command has to have a destination already.
      (message.mandatory || log.startsWith(inboxPrefix) ? strict : loose).add(log);
    }
    const ask = async (log: string, create: boolean): Promise<void> => {
      try {
        const topic = (await cluster.metadata([log], { create })).get(log);
        if (topic === undefined) failures.set(log, missing(log));
        else found.set(log, topic);
      } catch (error) {
        // What was asked has changed no message: whatever the answer, nothing was written.
        failures.set(log, definite(wrap(error)));
      }
    };
    const look = async (): Promise<void> => {
      await Promise.all([...strict].map((log) => ask(log, false)));
      const absent = new Set([...strict].filter((log) => !found.has(log)));
      for (const index of indexes) {
        const message = messages[index] as Message;
        const log = logTopicOf(message);
        if (message.mandatory && absent.has(log)) outcomes[index] = { ok: false, error: failures.get(log) ?? missing(log) };
      }
      await Promise.all([...loose].map((log) => ask(log, true)));
    };
    await Promise.race([look(), limit.over]);
    for (const index of indexes) {
      const log = logTopicOf(messages[index] as Message);
      if (!found.has(log)) outcomes[index] ??= { ok: false, error: failures.get(log) ?? limit.error("definite", undefined) };
    }
    return found;
  }

  function deal(
    messages: readonly Message[],
    indexes: readonly number[],
    topics: ReadonlyMap<string, TopicMetadata>,
    outcomes: PublishOutcome[],
  ): Map<number, Map<string, PartitionQueue>> {
    const byLane = new Map<number, Map<string, PartitionQueue>>();
    turn += 1;
    for (const index of indexes) {
      if (outcomes[index] !== undefined) continue;
      const message = messages[index] as Message;
      const log = logTopicOf(message);
      const count = topics.get(log)?.partitions.length ?? 0;
      // Without a key all of one call go to one partition, and the next call's to the next one: large batches, spread evenly.
      const partition = partitionIn(message.native) ?? (message.key === undefined ? turn : hash(message.key)) % count;
      if (partition >= count) {
        outcomes[index] = { ok: false, error: new WaybillError("CONFIG", `native: topic "${log}" has the partitions 0 to ${count - 1}`) };
        continue;
      }
      const lane = laneOf(message, hash, lanes.length);
      let queues = byLane.get(lane);
      if (queues === undefined) byLane.set(lane, (queues = new Map<string, PartitionQueue>()));
      const name = `${log}/${partition}`;
      let queue = queues.get(name);
      if (queue === undefined) {
        queue = { topic: log, partition, messages: [], indexes: [], done: 0, batch: undefined, maxCount: Number.MAX_SAFE_INTEGER };
        queues.set(name, queue);
      }
      queue.messages.push(message);
      queue.indexes.push(index);
    }
    return byLane;
  }

  async function inTurn(lane: Lane, queues: readonly PartitionQueue[], outcomes: PublishOutcome[], limit: Limit): Promise<void> {
    const before = lane.tail;
    const run = (async () => {
      await Promise.race([before, limit.over]);
      await lane.producer.write(queues, outcomes, limit);
    })();
    lane.tail = Promise.all([before, run]).then(nothing, nothing);
    return run;
  }

  return {
    publish,
    async idle() {
      await Promise.all(lanes.map(({ tail }) => tail));
    },
  };
}

function missing(log: string): WaybillError {
  return new WaybillError("UNROUTABLE", `there is no topic "${log}"`);
}

function nothing(): void {}

function accepted(messages: readonly Message[], outcomes: PublishOutcome[], maxBodyBytes: number): number[] {
  const indexes: number[] = [];
  for (let index = 0; index < messages.length; index += 1) {
    const error = refusalOf(messages[index] as Message, maxBodyBytes);
    if (error === undefined) indexes.push(index);
    else outcomes[index] = { ok: false, error };
  }
  return indexes;
}

function definite(error: WaybillError): WaybillError {
  if (error.certainty === "definite") return error;
  return new WaybillError("CONNECTION", "the broker did not tell about the topic", { cause: error });
}
