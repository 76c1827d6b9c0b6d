import { listOffsetsV7, offsetFetchV8 } from "@platformatic/kafka";
import { WaybillError } from "@waybill/core";
import { call } from "../session/call.ts";
import type { KafkaSession } from "../session/session.ts";
import { nameOf, type TopicPartition } from "./assignor.ts";
import { briefly } from "./briefly.ts";
import { codes, isCoordinatorGone } from "./codes.ts";
import type { CoordinatorLink } from "./coordinator-link.ts";

export interface CommittedOffset {
  readonly offset: number;
  readonly metadata: string | null;
}

const callMs = 10_000;

/** What a group has committed, by the name of the partition; nothing where it has not. Partitions with an open transaction are waited for. */
export async function fetchCommitted(
  link: CoordinatorLink,
  group: string,
  parts: readonly TopicPartition[],
): Promise<ReadonlyMap<string, CommittedOffset>> {
  const topics = [...groupByTopic(parts)].map(([name, partitionIndexes]) => ({ name, partitionIndexes }));
  const answer = await link.call(offsetFetchV8.api, callMs, [{ groupId: group, memberEpoch: -1, topics }], true);
  const [entry] = answer.groups;
  if (entry === undefined || entry.errorCode !== 0) throw refused(link, "its offsets", entry?.errorCode ?? -1);
  const found = new Map<string, CommittedOffset>();
  for (const topic of entry.topics) {
    for (const { partitionIndex, committedOffset, metadata, errorCode } of topic.partitions) {
      if (errorCode !== 0) throw refused(link, "its offsets", errorCode);
      if (committedOffset < 0n) continue;
      found.set(nameOf({ topic: topic.name, partition: partitionIndex }), { offset: Number(committedOffset), metadata: metadata ?? null });
    }
  }
  return found;
}

export const earliest = -2;
export const latest = -1;

/** The offsets at a time (or `earliest`, `latest`) of these partitions, each asked of its leader. A time after the last message: the end. */
export async function listOffsets(
  session: KafkaSession,
  parts: readonly TopicPartition[],
  time: number,
): Promise<ReadonlyMap<string, number>> {
  const metas = await session.metadata([...new Set(parts.map(({ topic }) => topic))]);
  const byLeader = new Map<number, TopicPartition[]>();
  for (const part of parts) {
    const leader = metas.get(part.topic)?.partitions[part.partition]?.leader;
    if (leader === undefined || leader < 0) {
      session.forgetTopic(part.topic);
      throw new WaybillError("CONNECTION", `${nameOf(part)} has no leader now`);
    }
    const of = byLeader.get(leader);
    if (of === undefined) byLeader.set(leader, [part]);
    else of.push(part);
  }
  const found = new Map<string, number>();
  await Promise.all(
    [...byLeader].map(async ([leader, of]) => {
      for (const [name, offset] of await listFrom(session, leader, of, time)) found.set(name, offset);
    }),
  );
  const after = parts.filter((part) => found.get(nameOf(part)) === -1);
  if (after.length > 0 && time !== latest) for (const [name, offset] of await listOffsets(session, after, latest)) found.set(name, offset);
  return found;
}

async function listFrom(
  session: KafkaSession,
  leader: number,
  parts: readonly TopicPartition[],
  time: number,
): Promise<readonly (readonly [string, number])[]> {
  const topics = [...groupByTopic(parts)].map(([name, partitions]) => ({
    name,
    partitions: partitions.map((partitionIndex) => ({ partitionIndex, currentLeaderEpoch: -1, timestamp: BigInt(time) })),
  }));
  // Committed messages alone: an open transaction is not the end.
  const answer = await briefly(session, "offsets", async () =>
    call(listOffsetsV7.api, await session.connectionTo(leader, { name: "offsets" }), -1, 1, topics),
  );
  return answer.topics.flatMap(({ name, partitions }) =>
    partitions.map(({ partitionIndex, offset, errorCode }) => {
      if (errorCode === 0) return [nameOf({ topic: name, partition: partitionIndex }), Number(offset)] as const;
      // The topic is just being made, or its leader moves: asked again with a fresh view.
      session.forgetTopic(name);
      throw new WaybillError("CONNECTION", `${name}/${partitionIndex}: the offsets cannot be had now (error ${errorCode})`);
    }),
  );
}

/** Asked again: the coordinator moves, or the group is between two generations. */
function refused(link: CoordinatorLink, what: string, code: number): WaybillError {
  if (isCoordinatorGone(code)) link.moved();
  return code === codes.groupAuthorization || code === codes.topicAuthorization
    ? new WaybillError("AUTH", `a group may not read ${what}`)
    : new WaybillError("CONNECTION", `${what} cannot be had now (error ${code})`);
}

export function groupByTopic(parts: readonly TopicPartition[]): ReadonlyMap<string, number[]> {
  const topics = new Map<string, number[]>();
  for (const { topic, partition } of parts) {
    const of = topics.get(topic);
    if (of === undefined) topics.set(topic, [partition]);
    else of.push(partition);
  }
  return topics;
}
