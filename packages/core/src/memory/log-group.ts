import type { Clock } from "../clock.ts";
import type { Inspection } from "../transport.ts";
import type { LogMember } from "./log-member.ts";
import type { LogPart } from "./log-part.ts";
import { createProgress, type Progress } from "./log-progress.ts";

/** How a member goes: it gave back in good order, its connection broke, or it died (or did not answer in time). */
export type Leaving = "cleanly" | "disconnected" | "died";

/**
 * A group of one topic. Each part belongs to one member, which alone hands out and commits in it; when members come and go
 * the parts are dealt out anew, and no part moves without need.
 */
export interface LogGroup {
  readonly name: string;
  /** Messages for this group alone; its members read it like a partition. */
  readonly retries: LogPart;
  readonly members: readonly LogMember[];
  readonly progress: readonly Progress[];
  /** Messages that are not finished. */
  left(): number;
  join(member: LogMember): void;
  leave(member: LogMember, how: Leaving): void;
  inspect(): Inspection;
}

export interface LogGroupOptions {
  readonly name: string;
  readonly parts: readonly LogPart[];
  readonly retries: LogPart;
  /** Where the group begins. */
  readonly start: (part: LogPart) => number;
  readonly clock: Clock;
  readonly revocationMs: number;
  readonly nextGeneration: () => number;
}

export function createLogGroup({ name, parts, retries, start, clock, revocationMs, nextGeneration }: LogGroupOptions): LogGroup {
  const members: LogMember[] = [];
  const partitions = parts.map((part) => createProgress(part, start(part)));
  const progress = [...partitions, createProgress(retries, retries.first)];

  /** The partitions of this topic that a member has and may keep. */
  function ownedBy(member: LogMember): Progress[] {
    return partitions.filter((each) => each.owner === member && !each.revoking);
  }

  /** Nobody has more than one partition more than another. What is too much is asked back; what has no owner is given. */
  function rebalance(): void {
    if (members.length === 0) return;
    const least = Math.floor(partitions.length / members.length);
    const byMost = members.toSorted((a, b) => ownedBy(b).length - ownedBy(a).length);
    byMost.forEach((member, rank) => {
      const quota = least + (rank < partitions.length % members.length ? 1 : 0);
      for (const surplus of ownedBy(member).slice(quota)) void revoke(surplus, member);
    });
    for (const each of progress) if (each.owner === undefined) give(each);
  }

  function give(each: Progress): void {
    const member = members.reduce<LogMember | undefined>(
      (poorest, next) => (poorest === undefined || ownedBy(next).length < ownedBy(poorest).length ? next : poorest),
      undefined,
    );
    if (member === undefined) return;
    each.give(member, nextGeneration());
    member.owned.add(each);
    member.port.wake();
  }

  /** The part stays with its member until that has answered, or its time is over. */
  async function revoke(each: Progress, member: LogMember): Promise<void> {
    each.revoking = true;
    const { generation, part } = each;
    const { promise: late, resolve } = Promise.withResolvers<boolean>();
    const timer = clock.after(revocationMs, () => resolve(false));
    const deadlineMs = performance.now() + revocationMs;
    const answer = async (): Promise<boolean> => {
      await member.request.onEvent({ kind: "revoked", part: part.name, deadlineMs });
      return true;
    };
    const inTime = await Promise.race([answer().catch(() => true), late]);
    timer.cancel();
    if (each.owner !== member || each.generation !== generation) return;
    takeAway(each, member, inTime ? "cleanly" : "died");
    if (!inTime) void member.request.onEvent({ kind: "lost", part: part.name, generation });
    rebalance();
  }

  function takeAway(each: Progress, member: LogMember, how: Leaving): void {
    member.owned.delete(each);
    each.takeAway(how === "died");
  }

  function left(): number {
    return progress.reduce((sum, each) => sum + each.left, 0);
  }

  return {
    name,
    retries,
    members,
    progress,
    left,
    join(member) {
      members.push(member);
      rebalance();
    },
    leave(member, how) {
      const at = members.indexOf(member);
      if (at === -1) return;
      members.splice(at, 1);
      for (const each of progress) if (each.owner === member) takeAway(each, member, how);
      rebalance();
    },
    inspect() {
      const oldest = Math.min(...progress.map(({ part, committed }) => part.at(Math.max(committed, part.first))?.time ?? Infinity));
      return {
        depth: left(),
        inFlight: progress.reduce((sum, { inFlight }) => sum + inFlight, 0),
        lagMessages: left(),
        oldestAgeMs: oldest === Infinity ? 0 : Math.max(0, clock.now() - oldest),
        consumers: members.map(({ port, inFlight }) => ({ id: port.id, inFlight })),
      };
    },
  };
}
