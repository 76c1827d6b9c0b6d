import { WaybillError } from "@waybill/core";
import { call } from "../session/call.ts";
import type { KafkaSession, TopicMetadata } from "../session/session.ts";
import type { TopicPartition } from "./assignor.ts";
import { codes } from "./codes.ts";
import { fetchApi, type Fetched, type FetchPart } from "./fetch-call.ts";
import { createSignal, type Signal } from "./signal.ts";

/** A partition that is read. */
export interface FetchSource extends TopicPartition {
  /** It was asked for once: what was there then has been received. Set by the fetcher. */
  looked: boolean;
  /** From where on; undefined: nothing now. */
  wanted(): number | undefined;
  received(fetched: Fetched): void;
  /** What was asked for is not kept, or not yet there. Nothing is asked of it until that is dealt with. */
  outOfRange(offset: number): Promise<void>;
  /** It can never be read. */
  failed(error: WaybillError): void;
}

/** Reads any number of partitions, with one request at a time on a connection of its own to each node that leads some of them. */
export interface Fetcher {
  add(source: FetchSource): void;
  remove(source: FetchSource): void;
  /** Some source wants something again. */
  wake(): void;
  close(): void;
}

const longPollMs = 250;
/** While some are paused the others may not hold up their return. */
const shortPollMs = 20;
const idleMs = 60_000;
const retryMs = [50, 100, 250, 500, 1_000] as const;

export function createFetcher(session: KafkaSession, name: string, troubled: (error: unknown) => void): Fetcher {
  const { clock, settings } = session;
  const sources = new Set<FetchSource>();
  const waiting = new Map<FetchSource, number>();
  const nodes = new Map<number, Signal>();
  const topics = new Map<string, TopicMetadata>();
  let closed = false;
  let placing: Promise<void> | undefined;

  function leaderOf({ topic, partition }: TopicPartition): number | undefined {
    const leader = topics.get(topic)?.partitions[partition]?.leader;
    return leader === undefined || leader < 0 ? undefined : leader;
  }

  /** Finds the leaders of all, and sees to it that each is asked. */
  function place(): Promise<void> {
    return (placing ??= findLeaders().finally(() => (placing = undefined)));
  }

  async function findLeaders(): Promise<void> {
    for (let tries = 0; !closed; tries += 1) {
      const missing = new Set<string>();
      for (const source of sources) if (leaderOf(source) === undefined) missing.add(source.topic);
      try {
        for (const [topic, found] of await session.metadata([...missing], tries === 0 ? {} : { maxAgeMs: 0 })) topics.set(topic, found);
      } catch (error) {
        troubled(error);
      }
      let isComplete = true;
      for (const source of sources) {
        const leader = leaderOf(source);
        if (leader === undefined) isComplete = false;
        else if (!nodes.has(leader)) {
          nodes.set(leader, createSignal(clock));
          void run(leader);
        }
      }
      for (const signal of nodes.values()) signal.fire();
      if (isComplete) return;
      if (!(await session.pause(retryMs[Math.min(tries, retryMs.length - 1)] ?? 1_000))) return;
    }
  }

  function forget(topic: string): void {
    topics.delete(topic);
    session.forgetTopic(topic);
  }

  async function run(node: number): Promise<void> {
    const signal = nodes.get(node) as Signal;
    const purpose = { name: `fetch:${name}`, requestTimeoutMs: settings.requestTimeoutMs + longPollMs };
    let failures = 0;
    while (!closed && [...sources].some((source) => leaderOf(source) === node)) {
      const { parts, isPartial } = wantedOf(node);
      if (parts.size === 0) {
        await signal.wait(isPartial ? shortPollMs * 5 : idleMs);
        continue;
      }
      // What is asked for the first time may have been waited for.
      const isFirst = [...parts.keys()].some(({ looked }) => !looked);
      const maxWaitMs = isFirst ? 0 : isPartial ? shortPollMs : longPollMs;
      const asked = { maxWaitMs, maxBytes: settings.maxFetchBytes, parts: partsOf(parts.keys()) };
      try {
        const connection = await session.connectionTo(node, purpose);
        const answer = await call(fetchApi, connection, asked);
        if (answer.errorCode !== 0) throw new WaybillError("TRANSPORT", `a fetch was answered with error ${answer.errorCode}`);
        failures = 0;
        for (const fetched of answer.parts) give(fetched, parts);
      } catch (error) {
        if (closed) return;
        troubled(error);
        await session.pause(retryMs[Math.min(failures, retryMs.length - 1)] ?? 1_000);
        failures += 1;
        // Its partitions may have another leader by now.
        for (const source of sources) if (leaderOf(source) === node) forget(source.topic);
        await place();
      }
    }
    nodes.delete(node);
    if (!closed) void place();
  }

  function wantedOf(node: number): { readonly parts: ReadonlyMap<FetchSource, number>; readonly isPartial: boolean } {
    const parts = new Map<FetchSource, number>();
    const now = clock.monotonic();
    let isPartial = false;
    for (const source of sources) {
      if (leaderOf(source) !== node) continue;
      const offset = (waiting.get(source) ?? 0) > now ? undefined : source.wanted();
      if (offset === undefined) isPartial = true;
      else parts.set(source, offset);
    }
    return { parts, isPartial };
  }

  function partsOf(asked: Iterable<FetchSource>): FetchPart[] {
    const parts: FetchPart[] = [];
    for (const source of asked) {
      const topicId = topics.get(source.topic)?.topicId;
      const offset = source.wanted();
      if (topicId === undefined || offset === undefined) continue;
      parts.push({ topicId, partition: source.partition, offset, maxBytes: settings.maxPartitionFetchBytes });
    }
    // In turn: those that come first in an answer get the most of it.
    if (parts.length > 1) parts.push(...parts.splice(0, Math.floor(Math.random() * parts.length)));
    return parts;
  }

  function give(fetched: Fetched, asked: ReadonlyMap<FetchSource, number>): void {
    for (const [source, offset] of asked) {
      if (source.partition !== fetched.partition || topics.get(source.topic)?.topicId !== fetched.topicId) continue;
      source.looked = true;
      // It was given up, or sent elsewhere, while the answer was on its way.
      if (!sources.has(source) || source.wanted() !== offset) return;
      if (fetched.errorCode === 0 && fetched.broken === undefined) source.received(fetched);
      else refused(source, offset, fetched);
      return;
    }
  }

  function refused(source: FetchSource, offset: number, { errorCode, broken }: Fetched): void {
    switch (errorCode) {
      case codes.offsetOutOfRange:
        waiting.set(source, Number.POSITIVE_INFINITY);
        void source.outOfRange(offset).finally(() => {
          waiting.delete(source);
          for (const signal of nodes.values()) signal.fire();
        });
        return;
      case codes.topicAuthorization:
        sources.delete(source);
        source.failed(new WaybillError("AUTH", `this user may not read the topic "${source.topic}"`));
        return;
    }
    troubled(broken ?? new WaybillError("CONNECTION", `${source.topic}/${source.partition} cannot be read now (error ${errorCode})`));
    waiting.set(source, clock.monotonic() + 100);
    if (broken !== undefined) return;
    forget(source.topic);
    void place();
  }

  return {
    add(source) {
      sources.add(source);
      void place();
    },
    remove(source) {
      sources.delete(source);
      waiting.delete(source);
    },
    wake() {
      for (const signal of nodes.values()) signal.fire();
    },
    close() {
      closed = true;
      for (const signal of nodes.values()) signal.fire();
      session.release(`fetch:${name}`);
    },
  };
}
