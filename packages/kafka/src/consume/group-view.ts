import { consumerGroupDescribeV0, decodeConsumerProtocolAssignment, describeGroupsV5 } from "@platformatic/kafka";
import { WaybillError } from "@waybill/core";
import type { GroupProtocol } from "../options.ts";
import type { TopicPartition } from "./assignor.ts";
import { codes, isCoordinatorGone } from "./codes.ts";
import type { CoordinatorLink } from "./coordinator-link.ts";

export interface MemberView {
  readonly memberId: string;
  readonly clientId: string;
  readonly parts: readonly TopicPartition[];
}

/** A group as its coordinator sees it. */
export interface GroupView {
  /** No rebalance is going on. */
  readonly isStable: boolean;
  readonly members: readonly MemberView[];
}

const nobody: GroupView = { isStable: true, members: [] };

const callMs = 5_000;

export async function viewGroup(link: CoordinatorLink, group: string, groupProtocol: GroupProtocol): Promise<GroupView> {
  if (groupProtocol === "consumer") {
    const [found] = (await link.call(consumerGroupDescribeV0.api, callMs, [group], false)).groups;
    if (found === undefined || found.errorCode === codes.groupIdNotFound) return nobody;
    if (found.errorCode !== 0) throw refusal(link, group, found.errorCode);
    return {
      isStable: isAtRest(found.groupState),
      members: found.members.map(({ memberId, clientId, assignment }) => ({
        memberId,
        clientId,
        parts: assignment.topicPartitions.flatMap(({ topicName, partitions }) =>
          partitions.map((partition) => ({ topic: topicName, partition })),
        ),
      })),
    };
  }
  const [found] = (await link.call(describeGroupsV5.api, callMs, [group], false)).groups;
  if (found === undefined || found.groupState === "Dead") return nobody;
  if (found.errorCode !== 0) throw refusal(link, group, found.errorCode);
  return {
    isStable: isAtRest(found.groupState),
    members: found.members.map(({ memberId, clientId, memberAssignment }) => ({
      memberId,
      clientId,
      parts: decodeConsumerProtocolAssignment(memberAssignment).assignedPartitions.flatMap(({ topic, partitions }) =>
        partitions.map((partition) => ({ topic, partition })),
      ),
    })),
  };
}

function refusal(link: CoordinatorLink, group: string, code: number): WaybillError {
  if (isCoordinatorGone(code)) link.moved();
  return code === codes.groupAuthorization
    ? new WaybillError("AUTH", `group "${group}": not allowed for this user`)
    : new WaybillError("CONNECTION", `group "${group}" cannot be described now (error ${code})`);
}

/** The others are on their way to it. */
function isAtRest(state: string): boolean {
  return state === "Stable" || state === "Empty";
}
