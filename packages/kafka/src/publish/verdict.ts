import { WaybillError } from "@waybill/core";
import { codes } from "../session/codes.ts";

/**
 * What an answer to one batch means. `again`: not stored, another try may go better · `unsure`: perhaps stored, the same bytes
 * again tell · `split`: too large together · `renew`: the broker knows this producer no more, so a new epoch begins.
 */
export type Verdict = "stored" | "again" | "unsure" | "split" | "renew" | WaybillError;

export function verdictOf(topic: string, errorCode: number): Verdict {
  switch (errorCode) {
    case codes.none:
    case codes.duplicateSequenceNumber:
      return "stored";
    case codes.unknownTopicOrPartition:
    case codes.leaderNotAvailable:
    case codes.notLeaderOrFollower:
    case codes.brokerNotAvailable:
    case codes.replicaNotAvailable:
    case codes.notEnoughReplicas:
    case codes.corruptMessage:
    case codes.kafkaStorageError:
    case codes.fencedLeaderEpoch:
    case codes.unknownLeaderEpoch:
    case codes.concurrentTransactions:
    case codes.coordinatorLoadInProgress:
      return "again";
    case codes.requestTimedOut:
    case codes.networkException:
    case codes.notEnoughReplicasAfterAppend:
      return "unsure";
    case codes.messageTooLarge:
    case codes.recordListTooLarge:
      return "split";
    case codes.outOfOrderSequenceNumber:
    case codes.unknownProducerId:
    case codes.invalidProducerEpoch:
    case codes.invalidProducerIdMapping:
      return "renew";
    case codes.topicAuthorizationFailed:
    case codes.clusterAuthorizationFailed:
    case codes.transactionalIdAuthorizationFailed:
      return new WaybillError("AUTH", `this user may not publish to "${topic}"`);
    case codes.invalidTopic:
      return new WaybillError("NAME", `Kafka takes no topic of the name "${topic}"`);
    default:
      return new WaybillError("TRANSPORT", `Kafka refused messages for "${topic}" (error ${errorCode})`, {
        certainty: "definite",
        retryable: false,
        remedy: "look the number up under Error Codes of the Kafka protocol",
      });
  }
}

export function tooLarge(topic: string): WaybillError {
  return new WaybillError("TOO_LARGE", `a message for "${topic}" is larger than the broker takes`, {
    remedy: "publish a reference to the data, or raise max.message.bytes of the topic",
  });
}
