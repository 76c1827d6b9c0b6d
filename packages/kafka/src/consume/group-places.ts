import { offsetCommitV8, offsetCommitV9 } from "@platformatic/kafka";
import { WaybillError, type StartPosition } from "@waybill/core";
import type { KafkaSession } from "../session/session.ts";
import { groupIdOf } from "../wire/names.ts";
import { nameOf, type TopicPartition } from "./assignor.ts";
import { briefly } from "./briefly.ts";
import { codes, isCoordinatorGone } from "./codes.ts";
import { createCoordinatorLink, type CoordinatorLink } from "./coordinator-link.ts";
import { viewGroup, type GroupView } from "./group-view.ts";
import { fetchCommitted, groupByTopic, type CommittedOffset } from "./offsets-call.ts";
import { startOffsets } from "./start-offsets.ts";

/** The places of a group in topics, looked at and changed by somebody who is no member of it. */
export interface GroupPlaces {
  /** `groupId`: as Kafka knows it. */
  committed(groupId: string, parts: readonly TopicPartition[]): Promise<ReadonlyMap<string, CommittedOffset>>;
  view(groupId: string): Promise<GroupView>;
  /** All partitions of those topics that exist. */
  partsOf(topics: readonly string[]): Promise<readonly TopicPartition[]>;
  /** Whether the group has a place in every partition of the topic. */
  exists(topic: string, group: string): Promise<boolean>;
  /** @throws `BUSY` while it has members. */
  move(topic: string, group: string, to: StartPosition): Promise<void>;
}

const commitMs = 10_000;
/** The first group of a cluster waits until its topic of offsets is made. */
const insistMs = 15_000;
const purpose = "places";

export function createGroupPlaces(session: KafkaSession): GroupPlaces {
  const commitApi = session.settings.groupProtocol === "consumer" ? offsetCommitV9.api : offsetCommitV8.api;

  function linkTo(group: string): CoordinatorLink {
    return createCoordinatorLink(session, group, purpose, session.settings.requestTimeoutMs);
  }

  function asking<T>(work: () => Promise<T>): Promise<T> {
    return briefly(session, purpose, work);
  }

  async function partsOf(topics: readonly string[]): Promise<readonly TopicPartition[]> {
    const found = await session.metadata(topics, { maxAgeMs: 1_000 });
    return [...found].flatMap(([topic, { partitions }]) => partitions.map(({ partition }) => ({ topic, partition })));
  }

  /** A new group has no coordinator at first, and a topic no leaders. */
  async function insist<T>(ask: () => Promise<T>): Promise<T> {
    const until = session.clock.monotonic() + insistMs;
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (
          session.clock.monotonic() >= until ||
          !(error instanceof WaybillError) ||
          error.code !== "CONNECTION" ||
          !(await session.pause(100))
        )
          throw error;
      }
    }
  }

  function committed(group: string, parts: readonly TopicPartition[]): Promise<ReadonlyMap<string, CommittedOffset>> {
    if (parts.length === 0) return Promise.resolve(new Map());
    return asking(() => insist(() => fetchCommitted(linkTo(group), group, parts)));
  }

  async function commit(group: string, offsets: ReadonlyMap<string, number>, parts: readonly TopicPartition[]): Promise<void> {
    const link = linkTo(group);
    const topics = [...groupByTopic(parts)].map(([name, partitions]) => ({
      name,
      partitions: partitions.map((partitionIndex) => ({
        partitionIndex,
        committedOffset: BigInt(offsets.get(nameOf({ topic: name, partition: partitionIndex })) ?? 0),
        committedLeaderEpoch: -1,
        committedMetadata: "",
      })),
    }));
    const answer = await link.call(commitApi, commitMs, group, -1, "", null, topics);
    for (const { partitions } of answer.topics) {
      for (const { errorCode } of partitions) {
        if (errorCode === 0) continue;
        if (isCoordinatorGone(errorCode)) link.moved();
        throw refusal(group, errorCode);
      }
    }
  }

  return {
    committed,
    partsOf,
    view: (groupId) => asking(() => viewGroup(linkTo(groupId), groupId, session.settings.groupProtocol)),
    async exists(topic, group) {
      const parts = await partsOf([topic]);
      const places = await committed(groupIdOf(topic, group), parts);
      return parts.length > 0 && parts.every((part) => places.has(nameOf(part)));
    },
    async move(topic, group, to) {
      const parts = await partsOf([topic]);
      if (parts.length === 0) throw new WaybillError("TOPOLOGY", `topic "${topic}" does not exist`);
      const offsets = await insist(() => startOffsets(session, parts, to));
      await asking(() => insist(() => commit(groupIdOf(topic, group), offsets, parts)));
    },
  };
}

function refusal(group: string, code: number): WaybillError {
  switch (code) {
    case codes.unknownMember:
    case codes.illegalGeneration:
    case codes.rebalanceInProgress:
    case codes.staleMemberEpoch:
    case codes.fencedMemberEpoch:
      return new WaybillError("BUSY", `group "${group}" has members`);
    case codes.groupAuthorization:
    case codes.topicAuthorization:
      return new WaybillError("AUTH", `group "${group}": not allowed for this user`);
    default:
      return new WaybillError("CONNECTION", `group "${group}": its place cannot be changed now (error ${code})`);
  }
}
