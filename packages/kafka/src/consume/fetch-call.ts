import { createAPI, fetchV13, type API, type Reader, type Writer } from "@platformatic/kafka";
import { readBatches, type RecordBatch } from "./record-batch.ts";

/** What of a partition is asked for. */
export interface FetchPart {
  readonly topicId: string;
  readonly partition: number;
  readonly offset: number;
  readonly maxBytes: number;
}

export interface Fetched {
  readonly topicId: string;
  readonly partition: number;
  readonly errorCode: number;
  readonly highWatermark: number;
  /** First offset that is kept. */
  readonly logStart: number;
  readonly aborted: readonly { readonly producerId: bigint; readonly firstOffset: number }[];
  readonly batches: readonly RecordBatch[];
  /** The batches could not be read. */
  readonly broken: unknown;
}

export interface FetchAnswer {
  readonly errorCode: number;
  readonly parts: readonly Fetched[];
}

interface FetchAsked {
  readonly maxWaitMs: number;
  readonly maxBytes: number;
  readonly parts: readonly FetchPart[];
}

/**
 * Fetch, version 13 (Kafka 3.1 and newer), with the client's writer and a reader of ours: the client's own unpacks every batch
 * at once and without a bound. Without a fetch session: the set of partitions changes with every pause.
 */
export const fetchApi: API<[FetchAsked], FetchAnswer> = createAPI(1, 13, writeRequest, readAnswer);

const readCommitted = 1;

function writeRequest({ maxWaitMs, maxBytes, parts }: FetchAsked): Writer {
  const topics = new Map<string, FetchPart[]>();
  for (const part of parts) {
    const of = topics.get(part.topicId);
    if (of === undefined) topics.set(part.topicId, [part]);
    else of.push(part);
  }
  const asked = [...topics].map(([topicId, of]) => ({
    topicId,
    partitions: of.map(({ partition, offset, maxBytes: partitionMaxBytes }) => ({
      partition,
      currentLeaderEpoch: -1,
      fetchOffset: BigInt(offset),
      lastFetchedEpoch: -1,
      partitionMaxBytes,
    })),
  }));
  return fetchV13.createRequest(maxWaitMs, 1, maxBytes, readCommitted, 0, -1, asked, [], "");
}

function readAnswer(_correlationId: number, _key: number, _version: number, reader: Reader): FetchAnswer {
  reader.readInt32();
  const errorCode = reader.readInt16();
  reader.readInt32();
  const parts: Fetched[] = [];
  reader.readArray((topic) => {
    const topicId = topic.readUUID();
    topic.readArray((part) => parts.push(readPart(topicId, part)));
  });
  return { errorCode, parts };
}

function readPart(topicId: string, reader: Reader): Fetched {
  const partition = reader.readInt32();
  const errorCode = reader.readInt16();
  const highWatermark = Number(reader.readInt64());
  reader.readInt64();
  const logStart = Number(reader.readInt64());
  const aborted = reader.readNullableArray((entry) => ({ producerId: entry.readInt64(), firstOffset: Number(entry.readInt64()) })) ?? [];
  reader.readInt32();
  const size = reader.readUnsignedVarInt() - 1;
  let batches: readonly RecordBatch[] = [];
  let broken: unknown;
  if (size > 0) {
    const bytes = reader.buffer.slice(reader.position, reader.position + size);
    reader.skip(size);
    try {
      batches = readBatches(bytes);
    } catch (error) {
      // Of this partition alone: the others go on.
      broken = error;
    }
  }
  return { topicId, partition, errorCode, highWatermark, logStart, aborted, batches, broken };
}
