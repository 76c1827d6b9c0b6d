import { offsetCommitV8, offsetCommitV9 } from "@platformatic/kafka";
import { WaybillError } from "@waybill/core";
import type { KafkaSession } from "../session/session.ts";
import { codes, isCoordinatorGone } from "./codes.ts";
import { maxNoteBytes, writeCommitNote } from "./commit-note.ts";
import type { CoordinatorLink } from "./coordinator-link.ts";
import type { Membership } from "./membership.ts";
import type { Part } from "./part.ts";

/**
 * Commits: one on its way at a time, of all parts that have changed since. What is committed is the first unfinished offset,
 * by the identity that has the part now; a part that is gone is in no commit.
 */
export interface Commits {
  /** Writes it with the next one. */
  touch(part: Part): void;
  /** Writes it when nothing else asks for a commit for a while: nobody waits for it. */
  touchLater(part: Part): void;
  /** Resolves when the coordinator has these versions, or the part is gone, or after `maxMs`. */
  written(parts: ReadonlyMap<Part, number>, maxMs: number): Promise<void>;
  /** The last word on parts that are given back: nobody has anything of them. True where the coordinator has it. */
  giveBack(parts: readonly Part[], maxMs: number): Promise<boolean>;
  /** Some part is gone: whoever waits for it looks again. */
  lost(): void;
  /** Keeps commits back while a transaction takes offsets along, one at a time. Answers how to let go. */
  hold(): Promise<() => void>;
  close(): void;
}

interface Entry {
  readonly part: Part;
  readonly version: number;
  readonly next: number;
  readonly openBelow: number | undefined;
  readonly committed: number;
  readonly metadata: string;
}

interface Waiter {
  readonly parts: ReadonlyMap<Part, number>;
  readonly resolve: () => void;
}

const commitMs = 10_000;
const laterMs = 500;
const leastAhead = 16;
const mostAhead = 512;

export interface CommitsOptions {
  readonly session: KafkaSession;
  readonly group: string;
  readonly link: CoordinatorLink;
  readonly membership: () => Membership;
  /** A commit was taken: more may be handed out. */
  readonly wrote: (part: Part) => void;
  /** The coordinator does not know us any more. */
  readonly fenced: () => void;
  readonly troubled: (error: unknown) => void;
}

export function createCommits(options: CommitsOptions): Commits {
  const { session, group, link } = options;
  const { clock } = session;
  let flight: Promise<boolean> | undefined;
  let dirty = new Set<Part>();
  const later = new Set<Part>();
  const closing = new Set<Part>();
  let waiters: Waiter[] = [];
  let working = false;
  let held = false;
  let holding: Promise<void> = Promise.resolve();
  let closed = false;
  let noteBytes = maxNoteBytes;
  // Groups of KIP-848 take no older one, and servers without it no newer one.
  const api = session.settings.groupProtocol === "consumer" ? offsetCommitV9.api : offsetCommitV8.api;

  function touch(part: Part): void {
    dirty.add(part);
    if (working || closed || held) return;
    working = true;
    void work();
  }

  async function work(): Promise<void> {
    // What is settled in the same turn goes along.
    await Promise.resolve();
    while (dirty.size > 0 && !closed && !held) {
      const parts = dirty;
      dirty = new Set();
      const entries: Entry[] = [];
      for (const part of parts) if (part.state === "ready" || part.state === "revoking") entries.push(entryOf(part));
      if (entries.length === 0) continue;
      flight = write(entries);
      if (!(await flight)) for (const { part } of entries) if (part.state !== "gone") dirty.add(part);
      look();
    }
    working = false;
  }

  function entryOf(part: Part): Entry {
    const { progress } = part;
    const standing = progress.standing();
    const { next } = progress;
    part.ahead = aheadOf(part);
    part.isShort = false;
    const openBelow = closing.has(part) ? undefined : Math.max(next + part.ahead, part.suspectBelow);
    const metadata = writeCommitNote(session.id, openBelow, standing, noteBytes) ?? "";
    return { part, version: progress.version, next, openBelow, committed: standing.committed, metadata };
  }

  /** False: to be written again. */
  async function write(entries: readonly Entry[]): Promise<boolean> {
    const membership = options.membership();
    const { identity } = membership;
    if (identity === undefined) {
      await membership.settled(laterMs);
      return false;
    }
    let answer: {
      readonly topics: readonly {
        readonly name: string;
        readonly partitions: readonly { readonly partitionIndex: number; readonly errorCode: number }[];
      }[];
    };
    try {
      answer = await link.call(api, commitMs, group, identity.generation, identity.memberId, identity.instanceId, topicsOf(entries));
    } catch (error) {
      if (closed) return true;
      options.troubled(error);
      await session.pause(100);
      return false;
    }
    let worst = 0;
    const refused = new Set<string>();
    for (const { name, partitions } of answer.topics) {
      for (const { partitionIndex, errorCode } of partitions) {
        if (errorCode === 0 || errorCode === codes.unknownTopicOrPartition) continue;
        refused.add(`${name}/${partitionIndex}`);
        worst = errorCode;
      }
    }
    for (const entry of entries) if (!refused.has(entry.part.name)) taken(entry);
    return worst === 0 || refusal(worst, membership);
  }

  function taken({ part, version, next, openBelow }: Entry): void {
    part.writtenVersion = Math.max(part.writtenVersion, version);
    part.writtenNext = next;
    part.openBelow = openBelow ?? next;
    later.delete(part);
    options.wrote(part);
  }

  async function refusal(code: number, membership: Membership): Promise<boolean> {
    switch (code) {
      case codes.illegalGeneration:
      case codes.rebalanceInProgress:
      case codes.staleMemberEpoch:
        // Between two generations; what stays ours is written under the next one.
        await membership.settled(laterMs);
        return false;
      case codes.unknownMember:
      case codes.fencedInstance:
      case codes.fencedMemberEpoch:
        options.fenced();
        return false;
      case codes.metadataTooLarge:
        noteBytes = Math.floor(noteBytes / 2);
        return false;
    }
    if (isCoordinatorGone(code)) link.moved();
    options.troubled(new WaybillError("TRANSPORT", `group "${group}": a commit was answered with error ${code}`));
    await session.pause(100);
    return false;
  }

  function look(): void {
    if (waiters.length === 0) return;
    const still: Waiter[] = [];
    for (const waiter of waiters) {
      if (isWritten(waiter.parts)) waiter.resolve();
      else still.push(waiter);
    }
    waiters = still;
  }

  function written(parts: ReadonlyMap<Part, number>, maxMs: number): Promise<void> {
    if (isWritten(parts) || closed) return Promise.resolve();
    for (const part of parts.keys()) touch(part);
    return new Promise((resolve) => {
      const timer = clock.after(maxMs, end);
      waiters.push({ parts, resolve: end });
      function end(): void {
        timer.cancel();
        waiters = waiters.filter((waiter) => waiter.resolve !== end);
        resolve();
      }
    });
  }

  function withDeadline(promise: Promise<unknown>, maxMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = clock.after(maxMs, resolve);
      void promise.then(() => (timer.cancel(), resolve()));
    });
  }

  return {
    touch,
    touchLater(part) {
      if (later.size === 0) clock.after(laterMs, flushLater);
      later.add(part);
    },
    written,
    async giveBack(parts, maxMs) {
      const until = clock.monotonic() + maxMs;
      for (const part of parts) closing.add(part);
      // One that is on its way may say that they are open.
      if (working && flight !== undefined) await withDeadline(flight, maxMs);
      const versions = new Map<Part, number>();
      for (const part of parts) {
        part.writtenVersion = -1;
        versions.set(part, part.progress.version);
      }
      await written(versions, Math.max(0, until - clock.monotonic()));
      for (const part of parts) closing.delete(part);
      return isWritten(versions);
    },
    lost: look,
    async hold() {
      const before = holding;
      const { promise, resolve } = Promise.withResolvers<void>();
      holding = promise;
      await before;
      held = true;
      if (working) await flight;
      return () => {
        held = false;
        resolve();
        const [first] = dirty;
        if (first !== undefined) touch(first);
      };
    },
    close() {
      closed = true;
      for (const { resolve } of waiters.splice(0)) resolve();
    },
  };

  function flushLater(): void {
    for (const part of later) if (part.state === "ready") touch(part);
    later.clear();
  }
}

/** As little as the pace allows: after a crash all of it is handled one at a time. */
function aheadOf({ ahead, isShort, progress, writtenNext }: Part): number {
  if (isShort) return Math.min(mostAhead, Math.max(leastAhead, ahead * 2));
  const isTooMuch = (progress.next - writtenNext) * 8 < ahead;
  return Math.max(leastAhead, isTooMuch ? ahead - Math.ceil(ahead / 16) : ahead);
}

function isWritten(parts: ReadonlyMap<Part, number>): boolean {
  for (const [part, version] of parts) if (part.writtenVersion < version && part.state !== "gone") return false;
  return true;
}

function topicsOf(entries: readonly Entry[]): {
  name: string;
  partitions: { partitionIndex: number; committedOffset: bigint; committedLeaderEpoch: number; committedMetadata: string }[];
}[] {
  const topics = new Map<string, Entry[]>();
  for (const entry of entries) {
    const of = topics.get(entry.part.topic);
    if (of === undefined) topics.set(entry.part.topic, [entry]);
    else of.push(entry);
  }
  return [...topics].map(([name, of]) => ({
    name,
    partitions: of.map(({ part, committed, metadata }) => ({
      partitionIndex: part.partition,
      committedOffset: BigInt(committed),
      committedLeaderEpoch: -1,
      committedMetadata: metadata,
    })),
  }));
}
