import { WaybillError } from "@waybill/core";
import { call } from "../session/call.ts";
import type { KafkaSession } from "../session/session.ts";
import { nameOf, type TopicPartition } from "./assignor.ts";
import { briefly } from "./briefly.ts";
import { fetchApi, type Fetched } from "./fetch-call.ts";

const waitMs = 0;

/** One fetch, answered at once with what is there. */
export async function fetchOnce(session: KafkaSession, part: TopicPartition, offset: number, maxBytes: number): Promise<Fetched> {
  const topic = (await session.metadata([part.topic])).get(part.topic);
  const leader = topic?.partitions[part.partition]?.leader;
  if (topic === undefined || leader === undefined || leader < 0) {
    session.forgetTopic(part.topic);
    throw new WaybillError("CONNECTION", `${nameOf(part)} has no leader now`);
  }
  const asked = { maxWaitMs: waitMs, maxBytes, parts: [{ topicId: topic.topicId, partition: part.partition, offset, maxBytes }] };
  const answer = await briefly(session, "offsets", async () =>
    call(fetchApi, await session.connectionTo(leader, { name: "offsets" }), asked),
  );
  const [fetched] = answer.parts;
  if (fetched === undefined || fetched.errorCode !== 0) {
    session.forgetTopic(part.topic);
    throw new WaybillError("CONNECTION", `${nameOf(part)} cannot be read now (error ${fetched?.errorCode ?? answer.errorCode})`);
  }
  return fetched;
}

/** The time of the batch that holds this offset; undefined: nothing is there yet. */
export async function readOneTime(session: KafkaSession, part: TopicPartition, offset: number): Promise<number | undefined> {
  const { batches } = await fetchOnce(session, part, offset, 1);
  const batch = batches.find(({ lastOffset }) => lastOffset >= offset);
  return batch === undefined ? undefined : (batch.appendTime ?? batch.firstTime);
}
