import { WaybillError } from "@waybill/core";
import type { KafkaSession } from "../session/session.ts";
import { nameOf, type TopicPartition } from "./assignor.ts";
import type { FetchSource } from "./fetcher.ts";
import { earliest, latest, listOffsets } from "./offsets-call.ts";
import { createPartQueue } from "./part-queue.ts";
import type { Part } from "./part.ts";
import { createProgress, type Standing } from "./progress.ts";

const nowhere: Standing = { committed: 0, finished: [], notes: [] };
/** Packed bytes of a partition that lie here at most before more is fetched. */
const aheadFetches = 1;

const emptyQueue = createPartQueue({ from: 0, maxUnpackedBytes: 0, passed: () => undefined, unreadable: () => undefined });

/** Whoever still holds a delivery of it holds nothing of what was fetched. */
export function emptyPart(part: Part): void {
  part.source = undefined;
  part.queue = emptyQueue;
}

export function createPart({ topic, partition }: TopicPartition): Part {
  return {
    topic,
    partition,
    name: nameOf({ topic, partition }),
    state: "starting",
    generation: 0,
    progress: createProgress(nowhere),
    queue: emptyQueue,
    reader: undefined,
    source: undefined,
    openBelow: 0,
    ahead: 0,
    isShort: false,
    suspectBelow: 0,
    writtenVersion: -1,
    writtenNext: 0,
  };
}

/** Puts it where the group stands. Nothing is handed out before the coordinator knows that we have it. */
export function startPart(part: Part, standing: Standing, suspectBelow: number, maxUnpackedBytes: number): void {
  const { committed } = standing;
  const progress = createProgress(standing);
  part.progress = progress;
  part.suspectBelow = suspectBelow;
  part.openBelow = committed;
  part.writtenVersion = -1;
  part.writtenNext = committed;
  part.queue = createPartQueue({
    from: committed,
    maxUnpackedBytes,
    passed: (offset) => progress.pass(offset),
    unreadable(batch, error) {
      const from = Math.max(batch.baseOffset, progress.next);
      const count = batch.lastOffset + 1 - from;
      if (count > 0) part.reader?.gap(count, `${part.name} from ${from} to ${batch.lastOffset}: ${error.message}`);
    },
  });
}

export function sourceOf(part: Part, session: KafkaSession, troubled: (error: unknown) => void): FetchSource {
  const most = session.settings.maxPartitionFetchBytes * aheadFetches;
  const source: FetchSource = {
    looked: false,
    topic: part.topic,
    partition: part.partition,
    wanted: () => (part.state === "ready" && part.queue.bytes < most ? part.queue.fetchOffset : undefined),
    received(fetched) {
      if (fetched.batches.length === 0) return;
      part.queue.push(fetched);
      part.reader?.wake();
    },
    outOfRange: (offset) => moveIntoRange(part, session, offset, troubled),
    failed: (error) => part.reader?.failed(error),
  };
  part.source = source;
  return source;
}

/** What was asked for is no longer kept: to the oldest that is. Or it never was, after a log was cut off: to its end. */
async function moveIntoRange(part: Part, session: KafkaSession, wanted: number, troubled: (error: unknown) => void): Promise<void> {
  while (part.state === "ready") {
    try {
      const [first, end] = await Promise.all([listOffsets(session, [part], earliest), listOffsets(session, [part], latest)]);
      const start = first.get(part.name) ?? 0;
      const last = end.get(part.name) ?? start;
      if (wanted >= start && wanted <= last) return;
      const to = wanted < start ? start : last;
      if (to > wanted) {
        part.queue.moveTo(to);
        part.progress.pass(to - 1);
        part.reader?.gap(to - wanted, `${part.name} from ${wanted} to ${to - 1}: no longer kept`);
      } else {
        // Offsets go back: nothing of what is in hand means anything any more.
        part.reader?.failed(
          new WaybillError("TRANSPORT", `${part.name} was cut off at ${last}, behind offset ${wanted} where the group stands`, {
            remedy: "seek the group to where it is to go on",
            retryable: false,
          }),
        );
      }
      return;
    } catch (error) {
      troubled(error);
      if (!(await session.pause(250))) return;
    }
  }
}
