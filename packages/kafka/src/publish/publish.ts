import type { Lanes, Message, PublishOutcome } from "@waybill/core";
import type { Settings } from "../options.ts";
import type { Cluster } from "../session/cluster.ts";
import { createLimit, type Limit } from "./limit.ts";
import { hashOf, partitionIn, type Hash } from "./partitioner.ts";
import { createProducer, type PartitionQueue, type Producer } from "./producer.ts";
import { createRouter } from "./route.ts";

export type Publish = (messages: readonly Message[], signals: readonly AbortSignal[]) => Promise<readonly PublishOutcome[]>;

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
  return (partitionIn(native) ?? hash(key ?? topic)) % producers;
}

interface Lane {
  readonly producer: Producer;
  /** Of the last call; the next waits for it. */
  tail: Promise<void>;
}

export function createPublish(cluster: Cluster): Publish {
  const { settings, clock } = cluster;
  const hash = hashOf(settings.partitioner);
  const lanes = Array.from({ length: settings.producers }, (_, index): Lane => ({
    producer: createProducer(cluster, String(index)),
    tail: Promise.resolve(),
  }));
  const route = createRouter(cluster, (message) => laneOf(message, hash, lanes.length));

  async function inTurn(lane: Lane, queues: readonly PartitionQueue[], outcomes: PublishOutcome[], limit: Limit): Promise<void> {
    const before = lane.tail;
    const run = (async () => {
      await Promise.race([before, limit.over]);
      // Even when it is over by now: then it says so for each message.
      await lane.producer.write(queues, outcomes, limit);
    })();
    lane.tail = Promise.all([before, run]).then(nothing, nothing);
    return run;
  }

  return async (messages, signals) => {
    const outcomes: PublishOutcome[] = [];
    const limit = createLimit(clock, settings.deliveryTimeoutMs, [...signals, cluster.signal]);
    try {
      const routes = await route(messages, outcomes, limit);
      await Promise.all([...routes].map(([lane, queues]) => inTurn(lanes[lane] as Lane, queues, outcomes, limit)));
    } finally {
      limit.end();
    }
    return outcomes;
  };
}

function nothing(): void {}
