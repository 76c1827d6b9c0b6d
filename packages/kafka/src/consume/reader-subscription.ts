import {
  createDeliveries,
  WaybillError,
  type Delivery,
  type Message,
  type StartPosition,
  type SubscribeRequest,
  type Subscription,
} from "@waybill/core";
import type { KafkaSession } from "../session/session.ts";
import { messageOf } from "../wire/message.ts";
import { nameOf, type TopicPartition } from "./assignor.ts";
import { createFetcher, type FetchSource } from "./fetcher.ts";
import { createGaps } from "./gaps.ts";
import { earliest, latest, listOffsets } from "./offsets-call.ts";
import { createPartQueue, type PartQueue } from "./part-queue.ts";
import { positionOf } from "./position.ts";
import { startOffsets } from "./start-offsets.ts";
import { createTopicWatch } from "./topic-watch.ts";
import { createWaiting } from "./waiting.ts";

export interface ReaderOptions {
  readonly session: KafkaSession;
  readonly request: SubscribeRequest;
  readonly name: string;
  readonly address: string | undefined;
  /** All topics that it reads, as they are now. */
  readonly wanted: () => ReadonlySet<string>;
  readonly troubled: (error: unknown) => void;
  readonly dispose: () => Promise<void> | void;
}

export interface Reader {
  readonly subscription: Subscription;
  /** Some of the topics have come into being. */
  widen(): Promise<void>;
  end(): void;
}

interface Place extends TopicPartition {
  readonly queue: PartQueue;
  next: number;
}

/** What waits for its time here at most. */
const mostWaiting = 10_000;

/** Reads partitions from a place on, as a member of nothing: no rebalance touches it, and it leaves nothing behind. */
export async function openReader(options: ReaderOptions): Promise<Reader> {
  const { session, request, wanted, troubled } = options;
  const { clock, settings } = session;
  const places = new Map<string, Place>();
  const fetcher = createFetcher(session, options.name, troubled);
  const gap = createGaps(request.onEvent);
  const intake = createDeliveries({ take, returned: end });
  const waiting = createWaiting<Delivery>(clock, () => intake.wake());
  const watch = createTopicWatch({ session, wanted, changed: () => void widen().catch(troubled), troubled });
  let { credit } = request;
  let isOver = false;
  let turn = 0;

  function take(): Delivery[] {
    const deliveries: Delivery[] = [];
    if (isOver || credit.messages <= 0) return deliveries;
    let bytes = 0;
    for (let due = waiting.take(); due !== undefined && deliveries.length < credit.messages; due = waiting.take()) deliveries.push(due);
    const all = [...places.values()];
    turn += 1;
    for (let step = 0; step < all.length; step += 1) {
      const place = all[(turn + step) % all.length];
      if (place !== undefined) bytes = takeFrom(place, deliveries, bytes);
    }
    return deliveries;
  }

  /** Nothing of it is ever settled: the credit holds for each time by itself. */
  function takeFrom(place: Place, deliveries: Delivery[], from: number): number {
    let bytes = from;
    const had = place.queue.bytes;
    while (deliveries.length < credit.messages && waiting.size < mostWaiting) {
      const record = place.queue.peek();
      if (record === undefined) break;
      const size = record.value?.byteLength ?? 0;
      if (bytes + size > credit.bytes && bytes > 0) break;
      place.queue.shift();
      if (record.offset < place.next) continue;
      place.next = record.offset + 1;
      const message = messageOf(record, { log: place.topic, partition: place.partition, topic: place.topic, group: undefined });
      const now = clock.now();
      if (message.expiresAt !== undefined && message.expiresAt <= now) continue;
      const delivery = deliveryOf(place, record.offset, message);
      if (message.deliverAt !== undefined && message.deliverAt > now) {
        waiting.add(delivery, message.deliverAt - now);
        continue;
      }
      bytes += size;
      deliveries.push(delivery);
    }
    if (had > 0 && place.queue.bytes < settings.maxPartitionFetchBytes) fetcher.wake();
    return bytes;
  }

  async function widen(): Promise<void> {
    const topics = await session.metadata([...wanted()], { maxAgeMs: 1_000 });
    const fresh: TopicPartition[] = [];
    for (const [topic, { partitions }] of topics) {
      for (const { partition } of partitions) if (!places.has(nameOf({ topic, partition }))) fresh.push({ topic, partition });
    }
    // What came into being since is read from its beginning.
    await add(fresh, "earliest");
  }

  async function add(parts: readonly TopicPartition[], from: StartPosition): Promise<void> {
    const byTopic = Map.groupBy(parts, ({ topic }) => topic);
    for (const of of byTopic.values()) {
      const offsets = await startOffsets(session, of, from);
      if (isOver) return;
      for (const part of of) open(part, offsets.get(nameOf(part)) ?? 0);
    }
  }

  function open({ topic, partition }: TopicPartition, offset: number): void {
    const name = nameOf({ topic, partition });
    if (places.has(name)) return;
    const queue = createPartQueue({
      from: offset,
      maxUnpackedBytes: settings.maxUnpackedBytes,
      passed: () => undefined,
      unreadable: (batch, error) => {
        const count = batch.lastOffset + 1 - Math.max(batch.baseOffset, place.next);
        place.next = batch.lastOffset + 1;
        if (count > 0) gap(count, `${name} up to ${batch.lastOffset}: ${error.message}`);
      },
    });
    const place: Place = { topic, partition, queue, next: offset };
    places.set(name, place);
    const source: FetchSource = {
      looked: false,
      topic,
      partition,
      wanted: () => (!isOver && queue.bytes < settings.maxPartitionFetchBytes ? queue.fetchOffset : undefined),
      received(fetched) {
        if (fetched.batches.length === 0) return;
        queue.push(fetched);
        intake.wake();
      },
      outOfRange: (wantedOffset) => moveIntoRange(place, wantedOffset),
      failed(error) {
        void request.onEvent({ kind: "failed", error });
        end();
      },
    };
    fetcher.add(source);
  }

  async function moveIntoRange(place: Place, offset: number): Promise<void> {
    while (!isOver) {
      try {
        const first = (await listOffsets(session, [place], earliest)).get(nameOf(place)) ?? 0;
        const end = (await listOffsets(session, [place], latest)).get(nameOf(place)) ?? first;
        if (offset >= first && offset <= end) return;
        const to = offset < first ? first : end;
        place.queue.moveTo(to);
        place.next = to;
        void request.onEvent({
          kind: "gap",
          count: to > offset ? to - offset : undefined,
          reason: `${nameOf(place)}: offset ${offset} is outside of ${first} to ${end}`,
        });
        return;
      } catch (error) {
        troubled(error);
        if (!(await session.pause(250))) return;
      }
    }
  }

  function end(): void {
    if (isOver) return;
    isOver = true;
    watch.close();
    waiting.close();
    fetcher.close();
    intake.end();
  }

  let disposed: Promise<void> | undefined;
  async function dispose(): Promise<void> {
    end();
    await options.dispose();
  }

  try {
    const there = await session.metadata([...wanted()], { maxAgeMs: 1_000 });
    const parts = [...there].flatMap(([topic, { partitions }]) => partitions.map(({ partition }) => ({ topic, partition })));
    await watch.start();
    await insist(() => add(parts, request.from));
    if (request.signal.aborted) throw new WaybillError("ABORTED", "the caller's signal fired");
  } catch (error) {
    end();
    throw error;
  }

  /** A topic that was just made has no leader everywhere yet. */
  async function insist(work: () => Promise<void>): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await work();
      } catch (error) {
        if (request.signal.aborted) throw new WaybillError("ABORTED", "the caller's signal fired", { cause: error });
        const isPassing = error instanceof WaybillError && error.code === "CONNECTION" && tries < 50;
        if (!isPassing || !(await session.pause(100))) throw error;
      }
    }
  }

  return {
    widen,
    end,
    subscription: {
      address: options.address,
      deliveries: () => intake.deliveries,
      settle: async (settlements) => settlements.map(() => "done" as const),
      credit(next) {
        credit = next;
        intake.wake();
      },
      [Symbol.asyncDispose]: () => (disposed ??= dispose()),
    },
  };
}

function deliveryOf(place: TopicPartition, offset: number, message: Message): Delivery {
  return {
    message,
    attempt: undefined,
    position: positionOf("", place.partition, offset),
    part: nameOf(place),
    generation: 0,
    leaseMs: undefined,
    note: undefined,
    takenOver: false,
    handle: undefined,
  };
}
