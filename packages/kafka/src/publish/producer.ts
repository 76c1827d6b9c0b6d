import { initProducerIdV4, type Connection } from "@platformatic/kafka";
import { WaybillError, type Message, type PublishOutcome } from "@waybill/core";
import { call } from "../session/call.ts";
import { codes } from "../session/codes.ts";
import type { Cluster } from "../session/cluster.ts";
import type { Purpose } from "../session/session.ts";
import { inboxPrefix } from "../wire/names.ts";
import type { Limit } from "./limit.ts";
import { batchOf, packRecords, type Packed } from "./record-writer.ts";
import { produceApi, producedOf, type ProducePart } from "./produce-call.ts";
import { tooLarge, verdictOf } from "./verdict.ts";

/** Messages for one partition, in order, and where each stands in the call that brought them. */
export interface PartitionQueue {
  readonly topic: string;
  readonly partition: number;
  readonly messages: Message[];
  readonly indexes: number[];
  /** How many of them have their outcome. */
  done: number;
  /** The one batch that is on its way. */
  batch: Batch | undefined;
  /** After a batch was too large: at most so many in one. */
  maxCount: number;
}

interface Batch {
  readonly packed: Packed;
  readonly bytes: Buffer;
  readonly identity: Identity;
  /** Sent at least once, and no answer told that it is not stored. */
  maybe: boolean;
}

export interface Identity {
  readonly producerId: bigint;
  readonly epoch: number;
  /** The next number by partition. */
  readonly sequences: Map<string, number>;
}

/** A producer whose identity, and the end of it, is somebody else's affair. */
export interface Transactional {
  readonly transactionalId: string;
  readonly identity: () => Identity;
}

/**
 * One idempotent producer: one write at a time, each of it the same bytes with the same number until the broker says what
 * became of it, so that a repeat is stored once. When the time is over and nobody knows, the next write begins a new epoch:
 * what may still be under way of the old one is refused by the broker.
 */
export interface Producer {
  /** Writes all of it into `outcomes`; never rejects. One at a time. */
  write(queues: readonly PartitionQueue[], outcomes: PublishOutcome[], limit: Limit): Promise<void>;
}

const maxEpoch = 32_000;
const maxSequence = 0x7fffffff;
const ok: PublishOutcome = Object.freeze({ ok: true });
/** Of one batch; the broker's own limit comes on top and splits it. */
const maxBatchBytes = 1_000_000;

export function createProducer(cluster: Cluster, name: string, transactional?: Transactional): Producer {
  const { settings } = cluster;
  const purpose: Purpose = { name: `produce:${name}`, requestTimeoutMs: settings.deliveryTimeoutMs + 1_000 };
  let identity: Identity | undefined;

  async function write(queues: readonly PartitionQueue[], outcomes: PublishOutcome[], limit: Limit): Promise<void> {
    let failure: WaybillError | undefined;
    let open = queues.filter(isOpen);
    while (open.length > 0 && !limit.isOver()) {
      try {
        const isQuiet = await Promise.race([round(open, outcomes, limit), limit.over]);
        failure = undefined;
        open = open.filter(isOpen);
        if (isQuiet === true || open.length === 0) continue;
      } catch (error) {
        failure = error as WaybillError;
        if (!failure.retryable) break;
      }
      await Promise.race([cluster.pause(settings.retryBackoffMs), limit.over]);
    }
    giveUp(open.filter(isOpen), outcomes, limit, failure);
  }

  /** One request to each leader. Answers whether all went well, so that the next can follow at once. */
  async function round(open: readonly PartitionQueue[], outcomes: PublishOutcome[], limit: Limit): Promise<boolean> {
    const byLeader = await leadersOf(open, outcomes);
    let isQuiet = byLeader.size > 0;
    const answers = [...byLeader].map(async ([leader, queues]) => {
      if (leader < 0 || !(await send(leader, queues, outcomes, limit))) isQuiet = false;
    });
    const settled = await Promise.allSettled(answers);
    const failed = settled.find((each) => each.status === "rejected");
    // One leader that is away does not keep the others from what is left for them.
    if (failed !== undefined) throw failed.reason;
    return isQuiet;
  }

  async function leadersOf(open: readonly PartitionQueue[], outcomes: PublishOutcome[]): Promise<Map<number, PartitionQueue[]>> {
    const names = [...new Set(open.map(({ topic }) => topic))];
    let topics = await cluster.metadata(names);
    const absent = new Set(names.filter((name) => !topics.has(name)));
    if (absent.size > 0) {
      // Deleted meanwhile.
      for (const queue of open) if (absent.has(queue.topic)) dropRouted(queue, outcomes);
      const again = [...new Set(open.filter(isOpen).map(({ topic }) => topic))];
      topics = await cluster.metadata(again, { create: true });
    }
    const byLeader = new Map<number, PartitionQueue[]>();
    for (const queue of open.filter(isOpen)) {
      const leader = topics.get(queue.topic)?.partitions[queue.partition]?.leader ?? -1;
      if (leader < 0) cluster.forgetTopic(queue.topic);
      const of = byLeader.get(leader);
      if (of === undefined) byLeader.set(leader, [queue]);
      else of.push(queue);
    }
    return byLeader;
  }

  /** Nothing is written and nothing is learned any more once the limit is over: whoever waited has gone. */
  async function send(leader: number, queues: readonly PartitionQueue[], outcomes: PublishOutcome[], limit: Limit): Promise<boolean> {
    let answer: Awaited<ReturnType<typeof produceApi.async>>;
    const unsent = new Set<PartitionQueue>();
    try {
      const connection = await cluster.connectionTo(leader, purpose);
      const begun = transactional?.identity() ?? identity ?? (await begin(connection));
      if (limit.isOver()) return false;
      const current = transactional === undefined ? (identity ??= begun) : begun;
      const batches = await Promise.all(queues.map(async (queue) => queue.batch ?? nextBatch(queue, current)));
      if (limit.isOver()) return false;
      const parts = queues.map((queue, index): ProducePart => {
        const batch = batches[index] as Batch;
        queue.batch = batch;
        if (!batch.maybe) unsent.add(queue);
        batch.maybe = true;
        return { topic: queue.topic, partition: queue.partition, batch: batch.bytes };
      });
      answer = await call(produceApi, connection, {
        timeoutMs: settings.deliveryTimeoutMs,
        transactionalId: transactional?.transactionalId ?? null,
        parts,
      });
    } catch (error) {
      // Perhaps it is not the leader any more.
      for (const { topic } of queues) cluster.forgetTopic(topic);
      throw error;
    }
    if (limit.isOver()) return false;
    const produced = new Map(producedOf(answer).map((each) => [`${each.topic}/${each.partition}`, each.errorCode]));
    let isQuiet = true;
    for (const queue of queues) {
      const errorCode = produced.get(keyOf(queue));
      if (errorCode === undefined || !take(queue, errorCode, unsent.has(queue), outcomes)) isQuiet = false;
    }
    return isQuiet;
  }

  /** Answers whether the partition can go on at once. */
  function take(queue: PartitionQueue, errorCode: number, isFirst: boolean, outcomes: PublishOutcome[]): boolean {
    const batch = queue.batch as Batch;
    const verdict = verdictOf(queue.topic, errorCode);
    if (verdict === "stored") {
      advance(queue, batch);
      settle(queue, outcomes, ok);
      return true;
    }
    if (verdict === "unsure") return false;
    // An earlier try got no answer: that this one failed does not tell what became of that.
    if (isFirst) batch.maybe = false;
    if (verdict === "again") {
      cluster.forgetTopic(queue.topic);
      return false;
    }
    if (verdict === "renew" && transactional !== undefined) {
      settle(queue, outcomes, unknown(queue.topic));
      return true;
    }
    if (verdict === "renew") {
      // Its numbers are of no use any more. One that may be stored is not sent under new ones: it would be stored twice.
      if (identity === batch.identity) identity = renewed(identity);
      if (batch.maybe) settle(queue, outcomes, unknown(queue.topic));
      queue.batch = undefined;
      return batch.maybe;
    }
    if (verdict === "split" && batch.packed.count > 1 && !batch.maybe) {
      queue.maxCount = Math.ceil(batch.packed.count / 2);
      queue.batch = undefined;
      return true;
    }
    const error = verdict === "split" ? tooLarge(queue.topic) : verdict;
    settle(queue, outcomes, batch.maybe ? unknown(queue.topic, error) : { ok: false, error });
    return true;
  }

  async function begin(connection: Connection): Promise<Identity> {
    const { errorCode, producerId, producerEpoch } = await call(
      initProducerIdV4.api,
      connection,
      null,
      settings.transactionTimeoutMs,
      -1n,
      -1,
    );
    if (errorCode === codes.clusterAuthorizationFailed)
      throw new WaybillError("AUTH", "this user may not publish idempotently", { remedy: "grant IdempotentWrite, or Write on its topics" });
    if (errorCode !== codes.none) throw new WaybillError("CONNECTION", `the broker gave no producer id (error ${errorCode})`);
    return { producerId, epoch: producerEpoch, sequences: new Map() };
  }

  async function nextBatch(queue: PartitionQueue, current: Identity): Promise<Batch> {
    const packed = await packRecords(queue.messages, queue.done, queue.maxCount, maxBatchBytes, settings.compression);
    const { producerId, epoch, sequences } = current;
    const sequence = sequences.get(keyOf(queue)) ?? 0;
    return {
      packed,
      bytes: batchOf(packed, { producerId, epoch, sequence, isTransactional: transactional !== undefined }),
      identity: current,
      maybe: false,
    };
  }

  function advance(queue: PartitionQueue, { packed, identity: { sequences } }: Batch): void {
    const key = keyOf(queue);
    const next = (sequences.get(key) ?? 0) + packed.count;
    // Numbers are of 31 bits, and go on at 0.
    sequences.set(key, next > maxSequence ? next - maxSequence - 1 : next);
  }

  function settle(queue: PartitionQueue, outcomes: PublishOutcome[], outcome: PublishOutcome): void {
    const { count } = (queue.batch as Batch).packed;
    for (let index = queue.done; index < queue.done + count; index += 1) outcomes[queue.indexes[index] as number] = outcome;
    queue.done += count;
    queue.batch = undefined;
  }

  function giveUp(open: readonly PartitionQueue[], outcomes: PublishOutcome[], limit: Limit, failure: WaybillError | undefined): void {
    for (const queue of open) {
      if (queue.batch?.maybe === true) {
        // Whatever of it is still under way is refused once the new epoch has written.
        if (identity === queue.batch.identity) identity = renewed(identity);
        cluster.release(purpose.name);
        settle(queue, outcomes, { ok: false, error: limit.error("indefinite", failure) });
      }
      queue.batch = undefined;
      const error = failure !== undefined && !failure.retryable ? failure : limit.error("definite", failure);
      for (let index = queue.done; index < queue.messages.length; index += 1)
        outcomes[queue.indexes[index] as number] = { ok: false, error };
      queue.done = queue.messages.length;
    }
  }

  return { write };
}

/** What has to have a destination already does not make one. */
function dropRouted(queue: PartitionQueue, outcomes: PublishOutcome[]): void {
  if (queue.batch?.maybe === true) return;
  queue.batch = undefined;
  const isInbox = queue.topic.startsWith(inboxPrefix);
  const error = new WaybillError("UNROUTABLE", `there is no topic "${queue.topic}" any more`);
  let kept = queue.done;
  for (let at = queue.done; at < queue.messages.length; at += 1) {
    const message = queue.messages[at] as Message;
    const index = queue.indexes[at] as number;
    if (isInbox || message.mandatory) {
      outcomes[index] = { ok: false, error };
      continue;
    }
    queue.messages[kept] = message;
    queue.indexes[kept] = index;
    kept += 1;
  }
  queue.messages.length = kept;
  queue.indexes.length = kept;
}

const isOpen = ({ done, messages }: PartitionQueue): boolean => done < messages.length;
const keyOf = ({ topic, partition }: PartitionQueue): string => `${topic}/${partition}`;

/** A higher epoch fences the lower one, with numbers from 0. */
function renewed(identity: Identity | undefined): Identity | undefined {
  if (identity === undefined || identity.epoch >= maxEpoch) return undefined;
  return { producerId: identity.producerId, epoch: identity.epoch + 1, sequences: new Map() };
}

function unknown(topic: string, cause?: WaybillError): PublishOutcome {
  const text = `nobody knows whether messages for "${topic}" are stored`;
  return { ok: false, error: new WaybillError("CONNECTION_LOST", text, { cause }) };
}
