import type { StartPosition } from "@waybill/core";
import type { KafkaSession } from "../session/session.ts";
import { offsetCommitV8, offsetCommitV9 } from "@platformatic/kafka";
import { nameOf, type TopicPartition } from "./assignor.ts";
import { readCommitNote } from "./commit-note.ts";
import type { CoordinatorLink } from "./coordinator-link.ts";
import type { Membership } from "./membership.ts";
import { earliest, fetchCommitted, groupByTopic, latest, listOffsets, type CommittedOffset } from "./offsets-call.ts";
import { startPart } from "./part-start.ts";
import type { Part } from "./part.ts";
import type { Standing } from "./progress.ts";
import { startOffsets } from "./start-offsets.ts";

/** Where a group stands, and where it begins what it has not read yet. */
export interface GroupOffsets {
  /** For each, how to put it there. Tries for as long as they are ours. */
  startsOf(parts: readonly Part[]): Promise<readonly { readonly part: Part; readonly start: (maxUnpackedBytes: number) => void }[]>;
  /** Resolves when all partitions of these topics have a place, whoever has them; topics that do not exist have none to wait for. */
  known(topics: readonly string[], maxMs: number): Promise<void>;
}

export interface GroupOffsetsOptions {
  readonly session: KafkaSession;
  readonly group: string;
  readonly link: CoordinatorLink;
  readonly membership: Membership;
  readonly startOf: (topic: string) => StartPosition;
  readonly owns: (part: TopicPartition) => boolean;
  readonly troubled: (error: unknown) => void;
}

const askAgainMs = 25;
/** A member of another make writes no place before it has read something. */
const otherMemberMs = 3_000;

export function createGroupOffsets({ session, group, link, membership, startOf, owns, troubled }: GroupOffsetsOptions): GroupOffsets {
  const { clock } = session;
  const commitApi = session.settings.groupProtocol === "consumer" ? offsetCommitV9.api : offsetCommitV8.api;

  async function startsOf(parts: readonly Part[]): Promise<readonly { readonly part: Part; readonly start: (max: number) => void }[]> {
    const until = clock.monotonic() + otherMemberMs;
    for (;;) {
      const ours = parts.filter(({ state }) => state === "starting");
      if (ours.length === 0) return [];
      try {
        await beginTopics(ours, clock.monotonic() > until);
        const committed = await fetchCommitted(link, group, ours);
        if (ours.every(({ name }) => committed.has(name))) return await planned(ours, committed);
      } catch (error) {
        troubled(error);
        if (!(await session.pause(100))) return [];
      }
      if (!(await session.pause(askAgainMs))) return [];
    }
  }

  /**
   * A group that is new to a topic gets a place in every partition of it, by the one member that has partition 0: two who did
   * it could set each other back. A partition that came later is read from its beginning.
   */
  async function beginTopics(parts: readonly TopicPartition[], isLate: boolean): Promise<void> {
    const topics = [...groupByTopic(parts)].filter(([, partitions]) => isLate || partitions.includes(0)).map(([topic]) => topic);
    if (topics.length === 0) return;
    const all = [...(await session.metadata(topics, { maxAgeMs: 1_000 }))].flatMap(([topic, { partitions }]) =>
      partitions.map(({ partition }) => ({ topic, partition })),
    );
    const committed = await fetchCommitted(link, group, all);
    for (const topic of topics) {
      const own = all.filter((part) => part.topic === topic);
      const missing = own.filter((part) => !committed.has(nameOf(part)));
      if (missing.length === 0) continue;
      const isNew = missing.length === own.length;
      const offsets = isNew ? await startOffsets(session, missing, startOf(topic)) : await listOffsets(session, missing, earliest);
      await write(isNew ? missing : missing.filter((part) => isLate || owns(part)), offsets);
    }
  }

  async function write(parts: readonly TopicPartition[], offsets: ReadonlyMap<string, number>): Promise<void> {
    const { identity } = membership;
    if (identity === undefined) {
      await membership.settled(500);
      return;
    }
    const topics = [...groupByTopic(parts)].map(([name, partitions]) => ({
      name,
      partitions: partitions.map((partitionIndex) => ({
        partitionIndex,
        committedOffset: BigInt(offsets.get(nameOf({ topic: name, partition: partitionIndex })) ?? 0),
        committedLeaderEpoch: -1,
        committedMetadata: "",
      })),
    }));
    // What was refused is found missing when it is asked for again.
    await link.call(commitApi, 5_000, group, identity.generation, identity.memberId, identity.instanceId, topics);
  }

  async function planned(
    parts: readonly Part[],
    committed: ReadonlyMap<string, CommittedOffset>,
  ): Promise<readonly { readonly part: Part; readonly start: (max: number) => void }[]> {
    const plans = parts.map((part) => {
      const { offset, metadata } = committed.get(part.name) as CommittedOffset;
      const note = readCommitNote(offset, metadata);
      const standing: Standing = { committed: offset, finished: note?.finished ?? [], notes: note?.notes ?? [] };
      // What this very process had in hand, no process has died of.
      const openBelow = note === undefined || note.by === session.id ? undefined : note.openBelow;
      return { part, standing, openBelow };
    });
    const suspects = plans.filter(({ openBelow }) => openBelow !== undefined).map(({ part }) => part);
    const ends = suspects.length === 0 ? new Map<string, number>() : await listOffsets(session, suspects, latest);
    return plans.map(({ part, standing, openBelow }) => ({
      part,
      start: (maxUnpackedBytes) =>
        startPart(part, standing, openBelow === undefined ? 0 : Math.min(openBelow, ends.get(part.name) ?? openBelow), maxUnpackedBytes),
    }));
  }

  return {
    startsOf,
    async known(topics, maxMs) {
      const until = clock.monotonic() + maxMs;
      for (;;) {
        try {
          const all = [...(await session.metadata(topics))].flatMap(([topic, { partitions }]) =>
            partitions.map(({ partition }) => ({ topic, partition })),
          );
          if (all.length === 0) return;
          const committed = await fetchCommitted(link, group, all);
          const missing = all.filter((part) => !committed.has(nameOf(part)));
          if (missing.length === 0) return;
          if (clock.monotonic() > until) return await beginTopics(missing, true);
        } catch (error) {
          troubled(error);
          if (clock.monotonic() > until) throw error;
        }
        if (!(await session.pause(askAgainMs))) return;
      }
    },
  };
}
