import { WaybillError, type Browsed, type BrowseRequest } from "@waybill/core";
import type { KafkaSession } from "../session/session.ts";
import { messageOf } from "../wire/message.ts";
import { groupIdOf } from "../wire/names.ts";
import { nameOf, type TopicPartition } from "./assignor.ts";
import { readCommitNote } from "./commit-note.ts";
import type { GroupPlaces } from "./group-places.ts";
import { groupLogs } from "./group-logs.ts";
import { earliest, latest, listOffsets } from "./offsets-call.ts";
import { createPartQueue, type PartQueue } from "./part-queue.ts";
import { cursorOf, positionOf, withCursor } from "./position.ts";
import type { Range } from "./progress.ts";
import { fetchOnce } from "./read-one.ts";
import type { LogRecord } from "./record-batch.ts";

interface Lane {
  readonly part: TopicPartition;
  readonly prefix: string;
  readonly queue: PartQueue;
  readonly finished: readonly Range[];
  /** What is behind it was not there when the browsing began. */
  readonly end: number;
  next: number;
}

/**
 * What a group has not settled, oldest first by the clock of the records. The position of each holds where all partitions
 * were, so that the next page goes on exactly there.
 */
export async function browseGroup(
  session: KafkaSession,
  places: GroupPlaces,
  { topic, group, after, limit, signal }: BrowseRequest,
): Promise<readonly Browsed[]> {
  const prefixes = new Map(groupLogs(topic, group).map(({ name, prefix }) => [name, prefix]));
  const parts = await places.partsOf([...prefixes.keys()]);
  const [committed, first, end] = await Promise.all([
    places.committed(groupIdOf(topic, group), parts),
    parts.length === 0 ? new Map<string, number>() : listOffsets(session, parts, earliest),
    parts.length === 0 ? new Map<string, number>() : listOffsets(session, parts, latest),
  ]);
  const cursor = after === undefined ? undefined : cursorOf(after);
  const lanes: Lane[] = [];
  for (const part of parts) {
    const place = committed.get(nameOf(part));
    if (place === undefined) continue;
    const prefix = prefixes.get(part.topic) ?? "";
    const next = Math.max(place.offset, first.get(nameOf(part)) ?? 0, cursor?.get(`${prefix}${part.partition}`) ?? 0);
    const queue = createPartQueue({
      from: next,
      maxUnpackedBytes: session.settings.maxUnpackedBytes,
      passed: () => undefined,
      unreadable: () => undefined,
    });
    const finished = readCommitNote(place.offset, place.metadata)?.finished ?? [];
    lanes.push({ part, prefix, queue, finished, end: end.get(nameOf(part)) ?? next, next });
  }
  const found: Browsed[] = [];
  while (found.length < limit) {
    if (signal.aborted) throw new WaybillError("ABORTED", "the caller's signal fired");
    const oldest = await oldestOf(session, lanes);
    if (oldest === undefined) break;
    const { lane, record } = oldest;
    lane.queue.shift();
    lane.next = record.offset + 1;
    const origin = { log: lane.part.topic, partition: lane.part.partition, topic, group: lane.prefix === "" ? undefined : group };
    const cursorNow = lanes.map(({ prefix, part, next }) => positionOf(prefix, part.partition, next));
    const position = withCursor(positionOf(lane.prefix, lane.part.partition, record.offset), cursorNow);
    found.push({ message: messageOf(record, origin), position });
  }
  return found;
}

async function oldestOf(
  session: KafkaSession,
  lanes: readonly Lane[],
): Promise<{ readonly lane: Lane; readonly record: LogRecord } | undefined> {
  let oldest: { readonly lane: Lane; readonly record: LogRecord } | undefined;
  for (const lane of lanes) {
    const record = await nextOf(session, lane);
    if (record !== undefined && (oldest === undefined || record.time < oldest.record.time)) oldest = { lane, record };
  }
  return oldest;
}

async function nextOf(session: KafkaSession, { part, queue, finished, end }: Lane): Promise<LogRecord | undefined> {
  for (;;) {
    const record = queue.peek();
    if (record === undefined) {
      if (queue.fetchOffset >= end) return undefined;
      const before = queue.fetchOffset;
      queue.push(await fetchOnce(session, part, before, session.settings.maxPartitionFetchBytes));
      if (queue.fetchOffset === before) return undefined;
    } else if (record.offset >= end) return undefined;
    else if (finished.some(({ from, to }) => record.offset >= from && record.offset < to)) queue.shift();
    else return record;
  }
}
