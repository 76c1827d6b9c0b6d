import {
  decodeConsumerProtocolAssignment,
  decodeConsumerProtocolSubscription,
  encodeConsumerProtocolAssignment,
  encodeConsumerProtocolSubscription,
  heartbeatV4,
  joinGroupV9,
  leaveGroupV5,
  syncGroupV5,
} from "@platformatic/kafka";
import { WaybillError } from "@waybill/core";
import { assign, type AssignorMember, type TopicPartition } from "./assignor.ts";
import { codes, isCoordinatorGone } from "./codes.ts";
import { createCoordinatorLink } from "./coordinator-link.ts";
import type { Identity, Membership, MembershipOptions } from "./membership.ts";
import { groupByTopic } from "./offsets-call.ts";
import { createSignal } from "./signal.ts";

const protocolType = "consumer";
const backoffMs = [50, 100, 250, 500, 1_000, 2_000] as const;
const leaveMs = 2_000;

/** The classic protocol: join, sync, heartbeat. One loop that never ends by an error which may pass. */
export function createClassicMembership({ session, group, host }: MembershipOptions): Membership {
  const { clock, settings } = session;
  const { sessionTimeoutMs: sessionMs, rebalanceTimeoutMs: rebalanceMs, heartbeatMs } = settings;
  const instanceId = settings.instanceId ?? null;
  const isEager = settings.assignment === "eager";
  const protocolName = isEager ? "range" : "cooperative-sticky";
  const joinMs = rebalanceMs + sessionMs;
  const link = createCoordinatorLink(session, group, `group:${session.id}:${group}`, joinMs + 1_000);
  const wake = createSignal(clock);
  const agreed = createSignal(clock);
  let memberId = "";
  let identity: Identity | undefined;
  let topics: ReadonlySet<string> = new Set();
  let asked = 0;
  let answered = 0;
  let rejoin = false;
  let failures = 0;
  let failure: WaybillError | undefined;
  let running: Promise<void> | undefined;
  let closed = false;
  let seen = 0;

  async function run(): Promise<void> {
    while (!closed && failure === undefined) {
      try {
        const code = (await join()) || (await beat());
        if (code === 0) failures = 0;
        else if (!closed) await recover(code);
      } catch (error) {
        if (closed) return;
        host.troubled(error);
        await backOff();
      }
    }
  }

  /** Answers the code that it ended with. */
  async function join(): Promise<number> {
    rejoin = false;
    const version = asked;
    if (isEager) await host.revokeAll();
    const metadata = encodeConsumerProtocolSubscription({
      version: 3,
      topics: [...topics],
      // A join with other bytes than before makes the coordinator deal out anew, whoever sends it.
      userData: Buffer.from(`waybill ${seen}`),
      ownedPartitions: isEager ? [] : byTopic(host.owned()),
      generationId: identity?.generation ?? -1,
      rackId: null,
    });
    const protocols = [{ name: protocolName, metadata }];
    const joined = await link.call(
      joinGroupV9.api,
      joinMs,
      group,
      sessionMs,
      rebalanceMs,
      memberId,
      instanceId,
      protocolType,
      protocols,
      null,
    );
    if (joined.memberId !== null && joined.memberId !== "") ({ memberId } = joined);
    if (joined.errorCode !== 0) return joined.errorCode;
    const isLeader = joined.leader === joined.memberId && !joined.skipAssignment;
    const synced = await link.call(
      syncGroupV5.api,
      joinMs,
      group,
      joined.generationId,
      memberId,
      instanceId,
      protocolType,
      joined.protocolName ?? protocolName,
      isLeader ? await deal(joined.members) : [],
    );
    if (synced.errorCode !== 0) return synced.errorCode;
    identity = { memberId, generation: joined.generationId, instanceId };
    const { assignedPartitions } = decodeConsumerProtocolAssignment(synced.assignment);
    host.assigned(assignedPartitions.flatMap(({ topic, partitions }) => partitions.map((partition) => ({ topic, partition }))));
    answered = Math.max(answered, version);
    agreed.fire();
    return 0;
  }

  async function deal(
    members: readonly { readonly memberId: string; readonly metadata?: Buffer | null }[],
  ): Promise<{ memberId: string; assignment: Buffer }[]> {
    const readers = members.map(({ memberId: id, metadata }): AssignorMember => {
      const { topics: read, ownedPartitions, generationId } = decodeConsumerProtocolSubscription(metadata ?? Buffer.alloc(0));
      const owned = (ownedPartitions ?? []).flatMap(({ topic, partitions }) => partitions.map((partition) => ({ topic, partition })));
      return { memberId: id, topics: new Set(read), owned, generation: generationId ?? -1 };
    });
    const known = await partitionsOf([...new Set(readers.flatMap(({ topics: read }) => [...read]))]);
    return [...assign(readers, known, !isEager)].map(([id, parts]) => ({
      memberId: id,
      assignment: encodeConsumerProtocolAssignment({ version: 1, assignedPartitions: byTopic(parts), userData: null }),
    }));
  }

  async function partitionsOf(names: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const found = await session.metadata(names, { maxAgeMs: 0 });
    return new Map([...found].map(([name, { partitions }]) => [name, partitions.length]));
  }

  /** Until there is a reason to join again. */
  async function beat(): Promise<number> {
    while (!closed) {
      await wake.wait(heartbeatMs);
      if (closed || rejoin || identity === undefined) return 0;
      const { errorCode } = await link.call(heartbeatV4.api, sessionMs, group, identity.generation, memberId, instanceId);
      if (errorCode === codes.rebalanceInProgress) return 0;
      if (errorCode !== 0) return errorCode;
      failures = 0;
    }
    return 0;
  }

  async function recover(code: number): Promise<void> {
    switch (code) {
      case codes.memberIdRequired:
      case codes.rebalanceInProgress:
        return;
      case codes.unknownMember:
        memberId = "";
        return forget();
      case codes.illegalGeneration:
        return forget();
    }
    failure = failureOf(code, group, instanceId);
    if (failure !== undefined) {
      forget();
      host.failed(failure);
      agreed.fire();
      return;
    }
    if (isCoordinatorGone(code)) link.moved();
    host.troubled(new WaybillError("TRANSPORT", `group "${group}": the coordinator answered with error ${code}`));
    await backOff();
  }

  async function backOff(): Promise<void> {
    await wake.wait(backoffMs[Math.min(failures, backoffMs.length - 1)] ?? 1_000);
    failures += 1;
  }

  function forget(): void {
    identity = undefined;
    host.lostAll();
  }

  return {
    get identity() {
      return identity;
    },
    async read(wanted) {
      topics = wanted;
      asked += 1;
      const version = asked;
      rejoin = true;
      running ??= run();
      wake.fire();
      while (answered < version && failure === undefined && !closed) await agreed.wait(60_000);
      if (failure !== undefined) throw failure;
      if (closed) throw new WaybillError("CLOSED", "the member has left");
    },
    released() {
      // An eager member has given back everything: it joins by itself.
      if (isEager) return;
      rejoin = true;
      wake.fire();
    },
    topicsChanged() {
      seen += 1;
      rejoin = true;
      wake.fire();
    },
    settled: (waitMs) => agreed.wait(waitMs),
    rebuild() {
      memberId = "";
      forget();
      rejoin = true;
      wake.fire();
    },
    async leave() {
      closed = true;
      wake.fire();
      agreed.fire();
      // A static member keeps its place until its session is over: it may only be starting anew.
      if (memberId !== "" && instanceId === null) {
        await link.call(leaveGroupV5.api, leaveMs, group, [{ memberId, groupInstanceId: null, reason: null }]).catch(() => undefined);
      }
      identity = undefined;
      link.close();
    },
  };
}

function byTopic(parts: readonly TopicPartition[]): { topic: string; partitions: number[] }[] {
  return [...groupByTopic(parts)].map(([topic, partitions]) => ({ topic, partitions }));
}

/** Undefined: it may pass. */
export function failureOf(code: number, group: string, instanceId: string | null): WaybillError | undefined {
  switch (code) {
    case codes.fencedInstance:
      return new WaybillError("CONFIG", `group "${group}": another process has the instance id "${instanceId}"`);
    case codes.inconsistentProtocol:
      return new WaybillError("CONFIG", `group "${group}": its other members use another protocol or assignment`);
    case codes.invalidSessionTimeout:
      return new WaybillError("CONFIG", `group "${group}": the server does not allow this session time-out`, {
        remedy: "stay within group.min.session.timeout.ms and group.max.session.timeout.ms of the server",
      });
    case codes.groupAuthorization:
    case codes.topicAuthorization:
      return new WaybillError("AUTH", `group "${group}": not allowed for this user`);
    case codes.unsupportedVersion:
      return new WaybillError("CAPABILITY", `group "${group}": this server does not know the group protocol`);
    case codes.invalidGroupId:
      return new WaybillError("CONFIG", `group "${group}": the server refuses the name`);
    default:
      return undefined;
  }
}
