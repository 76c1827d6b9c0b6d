import { deadLetterGroup, WaybillError, type SubscribeRequest, type Subscription } from "@waybill/core";
import type { KafkaSession } from "../session/session.ts";
import { isOwnTopic, retryTopic } from "../wire/names.ts";
import { createGroupMember, type GroupMember } from "./group-member.ts";
import { createGroupSubscription, type GroupSubscription } from "./group-subscription.ts";

/** All that is read through one session. */
export interface Consumers {
  subscribe(request: SubscribeRequest): Promise<Subscription>;
  /** Whether this process has members of that group. */
  isMember(group: string): boolean;
  close(): Promise<void>;
}

export interface ConsumersOptions {
  /** Told of failures that are tried again. */
  readonly troubled?: (error: unknown) => void;
}

interface Group {
  readonly member: GroupMember;
  readonly logs: Map<GroupSubscription, ReadonlySet<string>>;
}

export function createConsumers(session: KafkaSession, { troubled = () => undefined }: ConsumersOptions = {}): Consumers {
  const groups = new Map<string, Group>();
  const open = new Set<Subscription>();

  async function subscribe(request: SubscribeRequest): Promise<Subscription> {
    if (request.signal.aborted) throw new WaybillError("ABORTED", "the caller's signal fired");
    if (session.signal.aborted) throw new WaybillError("CLOSED", "the transport is closed");
    if (request.group !== undefined && request.topic !== undefined) return subscribeGroup(request, request.topic, request.group);
    throw new WaybillError("CAPABILITY", "not built yet");
  }

  function groupOf(name: string): Group {
    let group = groups.get(name);
    if (group === undefined) {
      const logs = new Map<GroupSubscription, ReadonlySet<string>>();
      const wanted = (): ReadonlySet<string> => new Set([...logs.values()].flatMap((names) => [...names]));
      group = { logs, member: createGroupMember({ session, group: name, wanted, troubled }) };
      groups.set(name, group);
    }
    return group;
  }

  async function subscribeGroup(request: SubscribeRequest, topic: string, name: string): Promise<Subscription> {
    const existing = await session.metadata([topic], { create: true });
    const retries = isOwnTopic(topic, name) ? undefined : retryTopic(topic, name);
    const names = new Set(retries === undefined ? [topic] : [topic, retries]);
    const group = groupOf(name);
    const { member, logs } = group;
    // What comes into being later is read from its beginning: it is all published from now on.
    const fromStart = !existing.has(topic) || name === deadLetterGroup;
    const dispose = async (): Promise<void> => {
      open.delete(made.subscription);
      logs.delete(made);
      await member.detach(made.reader);
      if (logs.size > 0) return;
      if (groups.get(name) === group) groups.delete(name);
      await member.leave();
    };
    const made: GroupSubscription = createGroupSubscription({
      session,
      request,
      group: name,
      member: () => member,
      reads: (log) => names.has(log),
      originOf: (log) => ({ topic, group: log === topic ? undefined : name }),
      startOf: (log) => (log !== topic || fromStart ? "earliest" : request.from),
      dispose,
    });
    logs.set(made, names);
    open.add(made.subscription);
    try {
      await member.attach(made.reader, [topic], request.signal);
    } catch (error) {
      await made.subscription[Symbol.asyncDispose]();
      throw error;
    }
    return made.subscription;
  }

  return {
    subscribe,
    isMember: (group) => groups.has(group),
    async close() {
      await Promise.all([...open].map((subscription) => subscription[Symbol.asyncDispose]()));
    },
  };
}
