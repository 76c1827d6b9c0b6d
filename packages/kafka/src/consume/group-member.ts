import { WaybillError, type StartPosition } from "@waybill/core";
import type { KafkaSession } from "../session/session.ts";
import { nameOf, type TopicPartition } from "./assignor.ts";
import { createClassicMembership } from "./classic-membership.ts";
import { createConsumerMembership } from "./consumer-membership.ts";
import { createCommits, type Commits } from "./commits.ts";
import { createCoordinatorLink } from "./coordinator-link.ts";
import { createFetcher, type Fetcher } from "./fetcher.ts";
import { createGroupOffsets } from "./group-offsets.ts";
import { watchMember } from "./member-watch.ts";
import type { Membership } from "./membership.ts";
import { createPart, emptyPart, sourceOf } from "./part-start.ts";
import type { Part, PartReader } from "./part.ts";
import { revoke } from "./revoke.ts";
import { createTransactionalSettling, type TransactionalSettling } from "./offset-transaction.ts";
import { createTopicWatch } from "./topic-watch.ts";

/** A subscription of a group, as its member sees it. */
export interface GroupReader extends PartReader {
  /** Where a topic begins that the group has not read yet. */
  startOf(topic: string): StartPosition;
}

/**
 * Our one member of a group: what the coordinator gives it is dealt out among the subscriptions of this process, and goes
 * back in good order when it is asked for.
 */
export interface GroupMember {
  readonly commits: Commits;
  /** Settles what takes effect with a transaction. */
  readonly settling: TransactionalSettling;
  /** What it has. */
  readonly parts: ReadonlyMap<string, Part>;
  /** Resolves when what is published to these topics from now on will reach the group. */
  attach(reader: GroupReader, topics: readonly string[], signal: AbortSignal): Promise<void>;
  /** More topics for a reader that has come before. */
  widen(): Promise<void>;
  /** Gives back what it has. */
  detach(reader: GroupReader): Promise<void>;
  readonly isEmpty: boolean;
  /** Room, or a commit: something may be fetched again. */
  wake(): void;
  membership(): Membership;
  leave(): Promise<void>;
}

export interface GroupMemberOptions {
  readonly session: KafkaSession;
  readonly group: string;
  /** All topics that its readers want, those that are not there yet included. */
  readonly wanted: () => ReadonlySet<string>;
  /** Those of which somebody may wait for that they come into being. */
  readonly awaited: () => ReadonlySet<string>;
  readonly troubled: (error: unknown) => void;
}

const lastCommitMs = 3_000;
const positionsMs = 5_000;
const beginMs = 3_000;
let generations = 0;

export function createGroupMember({ session, group, wanted, awaited, troubled }: GroupMemberOptions): GroupMember {
  const { settings } = session;
  const parts = new Map<string, Part>();
  const readers = new Set<GroupReader>();
  const link = createCoordinatorLink(session, group, `commit:${session.id}:${group}`, settings.requestTimeoutMs);
  const fetcher: Fetcher = createFetcher(session, `${session.id}:${group}`, troubled);
  let target: ReadonlySet<string> = new Set();
  let targetParts: readonly TopicPartition[] = [];
  let closed = false;

  const createMembership = settings.groupProtocol === "consumer" ? createConsumerMembership : createClassicMembership;
  const membership: Membership = createMembership({
    session,
    group,
    host: {
      owned: () => [...parts.values()].filter(({ state }) => state !== "gone"),
      assigned(given) {
        targetParts = given;
        target = new Set(given.map(nameOf));
        reconcile();
      },
      revokeAll: async () => {
        targetParts = [];
        target = new Set();
        await Promise.all([...parts.values()].map((part) => giveBack(part)));
      },
      lostAll() {
        targetParts = [];
        target = new Set();
        for (const part of [...parts.values()]) lose(part);
      },
      failed(error) {
        for (const reader of readers) reader.failed(error);
      },
      troubled,
    },
  });
  const commits = createCommits({
    session,
    group,
    link,
    membership: () => membership,
    wrote: (part) => part.reader?.wake(),
    fenced: () => membership.rebuild(),
    troubled,
  });
  const settling = createTransactionalSettling({
    session,
    group,
    commits,
    membership: () => membership,
    doubt(doubted) {
      for (const part of doubted) lose(part);
      reconcile();
    },
  });
  const offsets = createGroupOffsets({ session, group, link, membership, startOf, owns: (part) => parts.has(nameOf(part)), troubled });
  const watch = createTopicWatch({ session, wanted, awaited, changed: () => membership.topicsChanged(), troubled });

  const stopWatching = watchMember({
    session,
    group,
    link,
    membership,
    target: () => target,
    estranged(error) {
      troubled(error);
      // Whoever reads here is not well until it has subscribed again.
      for (const reader of [...readers]) reader.failed(error);
    },
  });

  function startOf(topic: string): StartPosition {
    for (const reader of readers) if (reader.reads(topic)) return reader.startOf(topic);
    return "latest";
  }

  /** Towards what the group gave us: the rest is asked back, what is new is begun. */
  function reconcile(): void {
    if (closed) return;
    for (const part of [...parts.values()]) if (!target.has(part.name)) void giveBack(part);
    const fresh: Part[] = [];
    for (const each of targetParts) {
      const name = nameOf(each);
      if (parts.has(name)) continue;
      const part = createPart(each);
      parts.set(name, part);
      fresh.push(part);
    }
    if (fresh.length > 0) void begin(fresh);
  }

  async function begin(fresh: readonly Part[]): Promise<void> {
    for (const { part, start } of await offsets.startsOf(fresh)) {
      if (part.state !== "starting" || parts.get(part.name) !== part) continue;
      generations += 1;
      part.generation = generations;
      start(settings.maxUnpackedBytes);
      part.state = "ready";
      commits.touch(part);
      fetcher.add(sourceOf(part, session, troubled));
    }
    deal();
  }

  /** What is ours of these topics can be handed out, and what is there has been fetched, or it takes long. */
  async function begun(topics: ReadonlySet<string>): Promise<void> {
    const until = session.clock.monotonic() + beginMs;
    const isWaiting = ({ topic, state, writtenVersion, source }: Part): boolean =>
      topics.has(topic) && (state === "starting" || (state === "ready" && (writtenVersion < 0 || source?.looked === false)));
    while ([...parts.values()].some(isWaiting) && session.clock.monotonic() < until) if (!(await session.pause(2))) return;
  }

  /** Each partition has one reader, and no reader of a topic has more than one more than another. */
  function deal(): void {
    const byTopic = Map.groupBy(
      [...parts.values()].filter(({ state }) => state === "ready"),
      ({ topic }) => topic,
    );
    for (const [topic, of] of byTopic) {
      const candidates = [...readers].filter((reader) => reader.reads(topic));
      if (candidates.length === 0) continue;
      const shareOf = (reader: PartReader): number => of.filter((part) => part.reader === reader).length;
      const most = Math.ceil(of.length / candidates.length);
      const least = Math.floor(of.length / candidates.length);
      let spare = of.length % candidates.length;
      for (const reader of candidates.toSorted((a, b) => shareOf(b) - shareOf(a))) {
        const has = of.filter((part) => part.reader === reader);
        const quota = spare > 0 && has.length > least ? most : least;
        if (quota === most && most > least) spare -= 1;
        for (const surplus of has.slice(Math.max(quota, 0))) void giveBack(surplus);
      }
      for (const part of of) {
        if (part.reader !== undefined || part.state !== "ready") continue;
        const reader = candidates.reduce((poorest, next) => (shareOf(next) < shareOf(poorest) ? next : poorest));
        part.reader = reader;
        reader.parts.add(part);
        reader.wake();
      }
    }
  }

  async function giveBack(part: Part): Promise<void> {
    if (part.state === "revoking" || part.state === "gone") return;
    if (part.state === "ready") {
      const inTime = await revoke(part, session.clock, Math.max(1_000, settings.rebalanceTimeoutMs - 2_000));
      if (parts.get(part.name) !== part) return;
      if (inTime) await commits.giveBack([part], lastCommitMs);
      if (parts.get(part.name) !== part) return;
    }
    drop(part);
    membership.released();
    // It came back to us meanwhile, or goes to another reader of this process.
    reconcile();
  }

  function drop(part: Part): void {
    part.state = "gone";
    parts.delete(part.name);
    part.reader?.parts.delete(part);
    part.reader?.wake();
    part.reader = undefined;
    if (part.source !== undefined) fetcher.remove(part.source);
    emptyPart(part);
    commits.lost();
  }

  function lose(part: Part): void {
    const { reader, generation, name } = part;
    drop(part);
    void reader?.onEvent({ kind: "lost", part: name, generation });
  }

  return {
    commits,
    settling,
    parts,
    membership: () => membership,
    get isEmpty() {
      return readers.size === 0;
    },
    async attach(reader, topics, signal) {
      readers.add(reader);
      deal();
      await giveUpOn(signal, watch.start());
      await giveUpOn(signal, membership.read(wanted()));
      await giveUpOn(signal, offsets.known(topics, positionsMs));
      await giveUpOn(signal, begun(new Set(topics)));
    },
    async widen() {
      await watch.start();
      await membership.read(wanted());
      deal();
    },
    async detach(reader) {
      readers.delete(reader);
      const own = [...reader.parts];
      for (const part of own) if (part.state === "ready") part.state = "revoking";
      await commits.giveBack(own, lastCommitMs);
      for (const part of own) if (parts.get(part.name) === part) drop(part);
      if (readers.size > 0) {
        const topics = wanted();
        if (own.some(({ topic }) => !topics.has(topic))) void membership.read(topics).catch(troubled);
        reconcile();
      }
    },
    wake: () => fetcher.wake(),
    async leave() {
      closed = true;
      watch.close();
      stopWatching();
      fetcher.close();
      await commits.giveBack(
        [...parts.values()].filter(({ state }) => state === "ready"),
        lastCommitMs,
      );
      for (const part of [...parts.values()]) drop(part);
      commits.close();
      await membership.leave();
      link.close();
    },
  };
}

function giveUpOn<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(new WaybillError("ABORTED", "the caller's signal fired"));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
