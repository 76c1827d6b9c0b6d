import {
  addOffsetsToTxnV3,
  addPartitionsToTxnV3,
  apiVersionsV3,
  consumerGroupHeartbeatV0,
  createTopicsV7,
  describeConfigsV4,
  endTxnV3,
  fetchV13,
  findCoordinatorV4,
  heartbeatV4,
  initProducerIdV4,
  joinGroupV9,
  leaveGroupV5,
  listOffsetsV7,
  metadataV12,
  offsetCommitV8,
  offsetFetchV8,
  produceV9,
  syncGroupV5,
  txnOffsetCommitV3,
  type Connection,
} from "@platformatic/kafka";
import { WaybillError } from "@waybill/core";
import type { GroupProtocol } from "../options.ts";
import { call } from "./call.ts";

interface Call {
  readonly api: { readonly key: number; readonly version: number };
}

/** One fixed version of each, all of them in Kafka 3.2 and in everything newer so far. */
const needed: Readonly<Record<string, Call>> = {
  Produce: produceV9,
  Fetch: fetchV13,
  ListOffsets: listOffsetsV7,
  Metadata: metadataV12,
  OffsetCommit: offsetCommitV8,
  OffsetFetch: offsetFetchV8,
  FindCoordinator: findCoordinatorV4,
  JoinGroup: joinGroupV9,
  Heartbeat: heartbeatV4,
  LeaveGroup: leaveGroupV5,
  SyncGroup: syncGroupV5,
  CreateTopics: createTopicsV7,
  InitProducerId: initProducerIdV4,
  DescribeConfigs: describeConfigsV4,
  AddPartitionsToTxn: addPartitionsToTxnV3,
  AddOffsetsToTxn: addOffsetsToTxnV3,
  TxnOffsetCommit: txnOffsetCommitV3,
  EndTxn: endTxnV3,
};

/** @throws `CAPABILITY` for the first call that the broker does not know. */
export async function checkVersions(connection: Connection, groupProtocol: GroupProtocol): Promise<void> {
  const { apiKeys } = await call(apiVersionsV3.api, connection, "waybill", "0.1.0");
  const offered = new Map(apiKeys.map((each) => [each.apiKey, each]));
  const has = ({ api }: Call): boolean => {
    const range = offered.get(api.key);
    return range !== undefined && range.minVersion <= api.version && api.version <= range.maxVersion;
  };
  for (const [name, each] of Object.entries(needed)) {
    if (!has(each)) throw tooOld(`${name} version ${each.api.version}`, "Kafka 3.2 or newer has it");
  }
  if (groupProtocol === "consumer" && !has(consumerGroupHeartbeatV0))
    throw tooOld('groupProtocol: "consumer" (KIP-848)', 'Kafka 4.0 or newer has it; "classic" works everywhere');
}

function tooOld(what: string, remedy: string): WaybillError {
  return new WaybillError("CAPABILITY", `the broker does not know ${what}`, { remedy });
}
