import { WaybillError, type Message, type PublishOutcome } from "@waybill/core";
import type { Cluster } from "../session/cluster.ts";
import { wrap } from "../session/errors.ts";
import type { TopicMetadata } from "../session/session.ts";
import { inboxPrefix, logTopicOf } from "../wire/names.ts";
import type { Limit } from "./limit.ts";
import { hashOf, partitionIn } from "./partitioner.ts";
import type { PartitionQueue } from "./producer.ts";
import { refusalOf } from "./refusal.ts";

/** Where messages go: by lane, then by partition. */
export type Routes = ReadonlyMap<number, readonly PartitionQueue[]>;

/** Finds the partition of every message; what cannot be carried, or has no topic, gets its outcome at once. Never rejects. */
export type Router = (messages: readonly Message[], outcomes: PublishOutcome[], limit: Limit) => Promise<Routes>;

export function createRouter(cluster: Cluster, laneOf: (message: Message) => number): Router {
  const hash = hashOf(cluster.settings.partitioner);
  const { maxBodyBytes } = cluster.limits;
  let turn = 0;

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
      for (const index of absent.size === 0 ? [] : indexes) {
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
  ): Routes {
    const byLane = new Map<number, PartitionQueue[]>();
    const queues = new Map<string, PartitionQueue>();
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
      const lane = laneOf(message);
      const name = `${lane} ${partition} ${log}`;
      let queue = queues.get(name);
      if (queue === undefined) {
        queue = { topic: log, partition, messages: [], indexes: [], done: 0, batch: undefined, maxCount: Number.MAX_SAFE_INTEGER };
        queues.set(name, queue);
        const of = byLane.get(lane);
        if (of === undefined) byLane.set(lane, [queue]);
        else of.push(queue);
      }
      queue.messages.push(message);
      queue.indexes.push(index);
    }
    return byLane;
  }

  return async (messages, outcomes, limit) => {
    const indexes: number[] = [];
    for (let index = 0; index < messages.length; index += 1) {
      const error = refusalOf(messages[index] as Message, maxBodyBytes);
      if (error === undefined) indexes.push(index);
      else outcomes[index] = { ok: false, error };
    }
    return deal(messages, indexes, await topicsOf(messages, indexes, outcomes, limit), outcomes);
  };
}

function missing(log: string): WaybillError {
  return new WaybillError("UNROUTABLE", `there is no topic "${log}"`);
}

function definite(error: WaybillError): WaybillError {
  if (error.certainty === "definite") return error;
  return new WaybillError("CONNECTION", "the broker did not tell about the topic", { cause: error });
}
