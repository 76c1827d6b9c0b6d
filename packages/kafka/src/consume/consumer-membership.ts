import { consumerGroupHeartbeatV0 } from "@platformatic/kafka";
import { WaybillError } from "@waybill/core";
import type { TopicPartition } from "./assignor.ts";
import { failureOf } from "./classic-membership.ts";
import { codes, isCoordinatorGone } from "./codes.ts";
import { createCoordinatorLink, within } from "./coordinator-link.ts";
import type { Identity, Membership, MembershipOptions } from "./membership.ts";
import { groupByTopic } from "./offsets-call.ts";
import { createSignal } from "./signal.ts";

const backoffMs = [50, 100, 250, 500, 1_000, 2_000] as const;
const leaveMs = 2_000;
/** After a change of ours, or of what we have, the coordinator usually has more to say soon. */
const briskMs = 100;
const briskBeats = 20;
const mostMs = 1_000;
const leaveEpoch = -1;
const pauseEpoch = -2;

/** KIP-848: the coordinator deals out; each heartbeat says what we have, and its answer what we are to have. */
export function createConsumerMembership({ session, group, host }: MembershipOptions): Membership {
  const { clock, settings } = session;
  const instanceId = settings.instanceId ?? null;
  const answerMs = settings.requestTimeoutMs;
  const link = createCoordinatorLink(session, group, `group:${session.id}:${group}`, answerMs + 1_000);
  const wake = createSignal(clock);
  const agreed = createSignal(clock);
  const names = new Map<string, string>();
  let memberId = "";
  let epoch = 0;
  let identity: Identity | undefined;
  let topics: ReadonlySet<string> = new Set();
  let asked = 0;
  let answered = 0;
  let told = -1;
  let toldOwned = "";
  let brisk = 0;
  let everyMs = mostMs;
  let failures = 0;
  let failure: WaybillError | undefined;
  let running: Promise<void> | undefined;
  let flight: Promise<unknown> = Promise.resolve();
  let closed = false;

  async function run(): Promise<void> {
    while (!closed && failure === undefined) {
      try {
        const beating = beat();
        flight = beating;
        const code = await beating;
        if (closed) return;
        if (code !== 0) {
          await recover(code);
          continue;
        }
        failures = 0;
        brisk = Math.max(0, brisk - 1);
        await wake.wait(brisk > 0 ? briskMs : everyMs);
      } catch (error) {
        if (closed) return;
        host.troubled(error);
        // What it heard of us is not known: all is said again.
        told = -1;
        toldOwned = "";
        await backOff();
      }
    }
  }

  async function beat(): Promise<number> {
    const version = asked;
    const joining = epoch === 0;
    const owned = joining ? [] : await idsOf(host.owned());
    const ownedText = JSON.stringify(owned);
    const saysTopics = joining || told !== version;
    const saysOwned = joining || toldOwned !== ownedText;
    const answer = await link.call(
      consumerGroupHeartbeatV0.api,
      answerMs,
      group,
      // Version 0 lets the coordinator choose the id of a new member.
      joining ? "" : memberId,
      epoch,
      instanceId,
      null,
      saysTopics || saysOwned ? settings.rebalanceTimeoutMs : -1,
      saysTopics ? [...topics] : null,
      null,
      null,
      saysOwned ? owned : null,
    );
    if (answer.errorCode !== 0) return answer.errorCode;
    if (typeof answer.memberId === "string") memberId = answer.memberId;
    if (answer.memberEpoch !== epoch) brisk = briskBeats;
    epoch = answer.memberEpoch;
    if (identity?.generation !== epoch || identity.memberId !== memberId) identity = { memberId, generation: epoch, instanceId };
    everyMs = Math.min(mostMs, answer.heartbeatIntervalMs);
    told = version;
    toldOwned = ownedText;
    if (answer.assignment !== null) host.assigned(await namesOf(answer.assignment.topicPartitions));
    answered = Math.max(answered, version);
    agreed.fire();
    return 0;
  }

  async function idsOf(parts: readonly TopicPartition[]): Promise<{ topicId: string; partitions: number[] }[]> {
    const byTopic = groupByTopic(parts);
    const found = await session.metadata([...byTopic.keys()]);
    const owned: { topicId: string; partitions: number[] }[] = [];
    for (const [topic, partitions] of byTopic) {
      const topicId = found.get(topic)?.topicId;
      if (topicId !== undefined) owned.push({ topicId, partitions: partitions.toSorted((a, b) => a - b) });
    }
    return owned;
  }

  async function namesOf(
    assigned: readonly { readonly topicId: string; readonly partitions: readonly number[] }[],
  ): Promise<readonly TopicPartition[]> {
    for (let isFresh = false; ; isFresh = true) {
      const found = await session.metadata([...topics], isFresh ? { maxAgeMs: 0 } : {});
      for (const { name, topicId } of found.values()) names.set(topicId, name);
      if (isFresh || assigned.every(({ topicId }) => names.has(topicId))) break;
    }
    // One that is unknown even now is told again: nothing of it is in what we say that we have.
    return assigned.flatMap(({ topicId, partitions }) => {
      const topic = names.get(topicId);
      return topic === undefined ? [] : partitions.map((partition) => ({ topic, partition }));
    });
  }

  async function recover(code: number): Promise<void> {
    switch (code) {
      case codes.unknownMember:
      case codes.fencedMemberEpoch:
        return forget();
      case codes.unreleasedInstance:
        // The former bearer of the instance id is still counted as alive.
        host.troubled(new WaybillError("BUSY", `group "${group}": the instance id "${instanceId}" is still taken`));
        return backOff();
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
    epoch = 0;
    identity = undefined;
    told = -1;
    toldOwned = "";
    brisk = briskBeats;
    host.lostAll();
  }

  return {
    get identity() {
      return identity;
    },
    async read(wanted) {
      topics = wanted;
      asked += 1;
      brisk = briskBeats;
      const version = asked;
      running ??= run();
      wake.fire();
      while (answered < version && failure === undefined && !closed) await agreed.wait(60_000);
      if (failure !== undefined) throw failure;
      if (closed) throw new WaybillError("CLOSED", "the member has left");
    },
    released() {
      brisk = briskBeats;
      wake.fire();
    },
    // The coordinator sees that by itself.
    topicsChanged() {
      brisk = briskBeats;
      wake.fire();
    },
    settled: (waitMs) => agreed.wait(waitMs),
    rebuild() {
      forget();
      wake.fire();
    },
    async leave() {
      closed = true;
      wake.fire();
      agreed.fire();
      // Whoever is just joining is a member without a name, and would be one until its session is over.
      if (epoch === 0) await within(clock, leaveMs, flight).catch(() => undefined);
      const was = epoch;
      epoch = 0;
      identity = undefined;
      if (was > 0) {
        const last = instanceId === null ? leaveEpoch : pauseEpoch;
        await link
          .call(consumerGroupHeartbeatV0.api, leaveMs, group, memberId, last, instanceId, null, -1, null, null, null, null)
          .catch(() => undefined);
      }
      link.close();
    },
  };
}
