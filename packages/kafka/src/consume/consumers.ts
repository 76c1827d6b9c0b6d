import {
  checkOptions,
  compilePattern,
  configError,
  deadLetterGroup,
  WaybillError,
  type Browsed,
  type BrowseRequest,
  type Inspection,
  type StartPosition,
  type SubscribeRequest,
  type Subscription,
} from "@waybill/core";
import type { KafkaSession } from "../session/session.ts";
import { groupIdOf, inboxPrefix, isInternal } from "../wire/names.ts";
import { browseGroup } from "./browse.ts";
import { groupLogs } from "./group-logs.ts";
import { createGroupMember, type GroupMember } from "./group-member.ts";
import { createGroupPlaces } from "./group-places.ts";
import { createGroupSubscription, type GroupSubscription } from "./group-subscription.ts";
import type { TopicLog } from "./group-take.ts";
import { deleteTopic } from "./delete-topic.ts";
import { inspectGroup } from "./inspect.ts";
import { releasedAfterwards } from "./released.ts";
import { openReader, type Reader } from "./reader-subscription.ts";
import { watchTopics, type TopicNames } from "./topic-names.ts";

/** All that is read through one session. */
export interface Consumers {
  subscribe(request: SubscribeRequest): Promise<Subscription>;
  inspect(topic: string, group: string): Promise<Inspection>;
  browse(request: BrowseRequest): Promise<readonly Browsed[]>;
  /** Where the group goes on. @throws `BUSY` while it has members. */
  seek(topic: string, group: string, to: StartPosition): Promise<void>;
  /** Whether the group has a place in every partition of the topic. */
  groupExists(topic: string, group: string): Promise<boolean>;
  /** A group that does not exist starts at `latest`. */
  makeGroup(topic: string, group: string): Promise<void>;
  close(): Promise<void>;
}

export interface ConsumersOptions {
  /** Told of failures that are tried again. */
  readonly troubled?: (error: unknown) => void;
}

interface Group {
  readonly member: GroupMember;
  /** What each subscription reads, by the name of the log. */
  readonly logs: Map<GroupSubscription, ReadonlyMap<string, TopicLog>>;
}

export function createConsumers(session: KafkaSession, { troubled = () => undefined }: ConsumersOptions = {}): Consumers {
  const groups = new Map<string, Group>();
  const open = new Set<Subscription>();
  const places = createGroupPlaces(session);
  let readers = 0;

  async function subscribe(request: SubscribeRequest): Promise<Subscription> {
    if (request.signal.aborted) throw new WaybillError("ABORTED", "the caller's signal fired");
    if (session.signal.aborted) throw new WaybillError("CLOSED", "the transport is closed");
    const problems = request.native === undefined ? [] : checkOptions(request.native, {}, "native");
    if (problems.length > 0) throw configError(problems);
    return releasedAfterwards(await openOne(request));
  }

  async function openOne(request: SubscribeRequest): Promise<Subscription> {
    if (request.inbox) return subscribeInbox(request);
    const topics = await topicsOf(request);
    return request.group === undefined ? read(request, topics) : join(request, request.group, topics);
  }

  async function topicsOf({ topic, pattern }: SubscribeRequest): Promise<TopicNames> {
    if (topic !== undefined) {
      const there = await session.metadata([topic], { create: true });
      return { now: () => [topic], atFirst: new Set(there.keys()), watch: () => undefined, close: () => undefined };
    }
    const names = compilePattern(pattern as string);
    return watchTopics(session, (name) => !isInternal(name) && names(name), troubled);
  }

  function groupOf(name: string): Group {
    let group = groups.get(name);
    if (group === undefined) {
      const logs: Group["logs"] = new Map();
      const member = createGroupMember({
        session,
        group: name,
        wanted: () => new Set([...logs.values()].flatMap((of) => [...of.keys()])),
        awaited: () =>
          new Set([...logs.values()].flatMap((of) => [...of.values()].flatMap((log) => (log.stepMs === undefined ? [log.name] : [])))),
        troubled,
      });
      group = { logs, member };
      groups.set(name, group);
    }
    return group;
  }

  async function join(request: SubscribeRequest, name: string, topics: TopicNames): Promise<Subscription> {
    const id = groupIdOf(request.topic, name);
    const group = groupOf(id);
    const { member, logs } = group;
    const own = new Map<string, TopicLog>();
    const widen = (): void => {
      for (const topic of topics.now()) for (const log of groupLogs(topic, name)) own.set(log.name, { ...log, topic });
    };
    widen();
    const dispose = async (): Promise<void> => {
      open.delete(made.subscription);
      void topics.close();
      logs.delete(made);
      await member.detach(made.reader);
      if (logs.size > 0 || groups.get(id) !== group) return;
      groups.delete(id);
      await member.leave();
    };
    const made = createGroupSubscription({
      session,
      request,
      group: name,
      member: () => member,
      reads: (log) => own.has(log),
      logOf: (log) => own.get(log) as TopicLog,
      logsOf: (topic) => groupLogs(topic, name),
      // What came into being later is read from its beginning: all of it is published from now on.
      startOf: (log) => (topics.atFirst.has(log) && name !== deadLetterGroup ? request.from : "earliest"),
      dispose,
    });
    logs.set(made, own);
    try {
      await member.attach(made.reader, [...topics.atFirst], request.signal);
    } catch (error) {
      await made.subscription[Symbol.asyncDispose]();
      throw error;
    }
    open.add(made.subscription);
    topics.watch(() => {
      widen();
      void member.widen().catch(troubled);
    });
    return made.subscription;
  }

  async function read(request: SubscribeRequest, topics: TopicNames, address?: string): Promise<Subscription> {
    readers += 1;
    const reader: Reader = await openReader({
      session,
      request,
      name: `${session.id}:reader ${readers}`,
      address,
      wanted: () => new Set(topics.now()),
      troubled,
      async dispose() {
        open.delete(reader.subscription);
        await topics.close();
      },
    });
    topics.watch(() => void reader.widen().catch(troubled));
    open.add(reader.subscription);
    return reader.subscription;
  }

  /** A topic of this instance alone, read by its partitions: no rebalance delays an answer. */
  async function subscribeInbox(request: SubscribeRequest): Promise<Subscription> {
    const address = `${inboxPrefix}${session.id}.${(readers += 1)}`;
    const there = await session.metadata([address], { create: true });
    if (!there.has(address))
      throw new WaybillError("TOPOLOGY", "replies need a topic of their own, which may not be made", {
        remedy: "set createTopics to true",
      });
    const close = (): Promise<void> => deleteTopic(session, address).catch(troubled);
    const topics: TopicNames = { now: () => [address], atFirst: new Set(), watch: () => undefined, close };
    return read({ ...request, from: "earliest" }, topics, address);
  }

  return {
    subscribe,
    inspect: (topic, group) =>
      inspectGroup(
        session,
        places,
        groupIdOf(topic, group),
        groupLogs(topic, group).map(({ name }) => name),
      ),
    browse: (request) => browseGroup(session, places, request),
    seek: (topic, group, to) => places.move(topic, group, to),
    groupExists: (topic, group) => places.exists(topic, group),
    async makeGroup(topic, group) {
      if (!(await places.exists(topic, group))) await places.move(topic, group, group === deadLetterGroup ? "earliest" : "latest");
    },
    async close() {
      await Promise.all([...open].map((subscription) => subscription[Symbol.asyncDispose]()));
    },
  };
}
