import { createAPI, produceV9, Writer, type API } from "@platformatic/kafka";

export interface ProducePart {
  readonly topic: string;
  readonly partition: number;
  /** A whole batch. */
  readonly batch: Buffer;
}

export interface Produced {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
}

interface Asked {
  readonly timeoutMs: number;
  readonly transactionalId: string | null;
  readonly parts: readonly ProducePart[];
}

type Answer = ReturnType<typeof produceV9.parseResponse>;

const acksAll = -1;

/** Produce, version 9, with batches that are written already: the client would write them anew for every try. */
export const produceApi: API<[Asked], Answer> = createAPI(0, 9, writeRequest, produceV9.parseResponse);

function writeRequest({ timeoutMs, transactionalId, parts }: Asked): Writer {
  const topics = new Map<string, ProducePart[]>();
  for (const part of parts) {
    const of = topics.get(part.topic);
    if (of === undefined) topics.set(part.topic, [part]);
    else of.push(part);
  }
  return Writer.create()
    .appendString(transactionalId)
    .appendInt16(acksAll)
    .appendInt32(timeoutMs)
    .appendArray([...topics], (topicWriter, [topic, of]) => {
      topicWriter.appendString(topic).appendArray(of, (partWriter, { partition, batch }) => {
        partWriter
          .appendInt32(partition)
          .appendUnsignedVarInt(batch.length + 1)
          .append(batch);
      });
    })
    .appendTaggedFields();
}

export function producedOf(answer: Answer): readonly Produced[] {
  return answer.responses.flatMap(({ name, partitionResponses }) =>
    partitionResponses.map(({ index, errorCode }) => ({ topic: name, partition: index, errorCode })),
  );
}
