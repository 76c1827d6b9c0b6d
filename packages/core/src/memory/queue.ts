import { WaybillError } from "../errors.ts";
import { deadLetterGroup, type Message, type Settlement } from "../transport.ts";
import { weigh } from "./body.ts";
import { createInboxes } from "./inbox.ts";
import type { Settings } from "./options.ts";
import { outcomesOf } from "./outcomes.ts";
import { attachGroup, attachReader } from "./queue-attach.ts";
import { queueCapabilities } from "./queue-capabilities.ts";
import type { Entry } from "./queue-entry.ts";
import type { GroupQueue } from "./queue-group.ts";
import { createQueues, type QueueTopic, type Queues } from "./queue-topic.ts";
import { createTransactions } from "./queue-transaction.ts";
import { cannot, checkRequest, refusalOf } from "./refusal.ts";
import type { Shape } from "./shape.ts";
import { createTopics, type Topics } from "./topics.ts";

/** What the parts of the queue shape share. */
export interface QueueBroker {
  readonly topics: Topics<QueueTopic>;
  readonly queues: Queues;
  /** Why the message cannot be taken; undefined: `put` will take it. */
  refuse(message: Message): WaybillError | undefined;
  /** Into every queue that it belongs to. */
  put(message: Message): void;
  /** `extend` of many at once goes to their queue instead. */
  settle(entry: Entry, settlement: Settlement): void;
  /** Once after many of `put` and `settle`. */
  handOut(): void;
}

/** A queue: each group of a topic has its own, a message stays in it until it is settled, and each is settled by itself. */
export function createQueueShape(settings: Settings): Shape {
  const queues = createQueues(settings);
  const topics = createTopics(queues.topic);
  const inboxes = createInboxes(queues.own);
  const changed: GroupQueue[] = [];
  let lastPosition = 0;
  let unheard = 0;
  let behind = false;

  function refuse(message: Message): WaybillError | undefined {
    const refused = refusalOf(message, settings);
    if (refused !== undefined) return refused;
    const topic = topics.find(message.topic);
    if (message.group !== undefined) return topic?.groups.get(message.group)?.isFull === true ? full(message.topic) : undefined;
    if (topic === undefined) return refuseTopicless(message);
    if (message.mandatory && topic.queues.length === 0) return unroutable(message.topic);
    if (message.replyTo !== undefined && !isServed(topic)) return noResponders(message.topic);
    for (const queue of topic.queues) if (queue.isFull) return full(message.topic);
    return undefined;
  }

  function refuseTopicless(message: Message): WaybillError | undefined {
    if (inboxes.owns(message.topic)) {
      const inbox = inboxes.find(message.topic);
      if (inbox === undefined) return noResponders(message.topic);
      return inbox.isFull ? full("an inbox") : undefined;
    }
    if (message.replyTo !== undefined) return noResponders(message.topic);
    return message.mandatory ? unroutable(message.topic) : undefined;
  }

  function put(message: Message): void {
    lastPosition += 1;
    if (message.group !== undefined) {
      // A copy for one group carries the id of its original, and is no repeat of it.
      putInto(topics.ensure(message.topic).ensureGroup(message.group), message);
      return;
    }
    const topic = topics.find(message.topic);
    if (topic === undefined) {
      const inbox = inboxes.find(message.topic);
      if (inbox === undefined) unheard += 1;
      else putInto(inbox, message);
      return;
    }
    if (topic.recent !== undefined && !topic.recent.add(message.id)) return;
    if (topic.queues.length === 0 && topic.readers.length === 0) unheard += 1;
    for (const queue of topic.queues) putInto(queue, message);
    for (const queue of topic.readers) {
      if (queue.isFull) queue.members[0]?.gap(1, "the reader is too slow");
      else putInto(queue, message);
    }
  }

  function putInto(queue: GroupQueue, message: Message): void {
    queue.add(message, lastPosition, weigh(message.body));
    note(queue);
  }

  function note(queue: GroupQueue): void {
    if (changed.at(-1) !== queue && !changed.includes(queue)) changed.push(queue);
  }

  function settle(entry: Entry, settlement: Settlement): void {
    const { home } = entry;
    note(home);
    switch (settlement.kind) {
      case "ack":
        return home.ack(entry);
      case "retry":
        return home.retry(entry, settlement.delayMs, settlement.note);
      case "release":
        return home.release(entry);
      case "dead-letter":
        put(toDeadLetter(entry.message, settlement.topic, settlement.headers));
        return home.ack(entry);
      case "extend":
        if (settlement.note !== undefined) entry.note = settlement.note;
        return home.extend([entry]);
    }
  }

  function handOut(): void {
    behind = false;
    for (let queue = changed.pop(); queue !== undefined; queue = changed.pop()) {
      queue.handOut();
      if (queue.isBehind) behind = true;
    }
  }

  function publishOne(message: Message): WaybillError | undefined {
    const error = refuse(message);
    if (error === undefined) put(message);
    return error;
  }

  const broker: QueueBroker = { topics, queues, refuse, put, settle, handOut };
  const transactions = createTransactions(broker);
  return {
    capabilities: queueCapabilities(settings),
    unheard: () => unheard,
    isBehind: () => behind,
    publish(messages, tx) {
      if (tx === undefined) {
        const outcomes = outcomesOf(messages, publishOne);
        handOut();
        return outcomes;
      }
      const noted = transactions.noted(tx);
      return outcomesOf(messages, (message) => {
        const error = noted === undefined ? new WaybillError("CLOSED", "the transaction is over") : refuse(message);
        if (error === undefined) noted?.messages.push(message);
        return error;
      });
    },
    attach(request, port) {
      checkRequest(request, settings);
      if (request.from !== "latest") throw cannot("from", "a queue keeps only what its groups have not settled: start at latest");
      if (request.inbox) return attachReader(broker, request, port, inboxes);
      return request.group === undefined
        ? attachReader(broker, request, port, undefined)
        : attachGroup(broker, transactions, request, port, request.group);
    },
    begin: transactions.begin,
    inspect(topic, group) {
      return topics.peek(topic)?.groups.get(group)?.inspect() ?? { depth: 0, inFlight: 0, lagMessages: 0, oldestAgeMs: 0, consumers: [] };
    },
    declare: topics.declare,
    check: topics.missing,
    browse({ topic, group, after, limit, signal }) {
      if (signal.aborted) throw new WaybillError("ABORTED", "the caller's signal fired");
      const entries = topics.peek(topic)?.groups.get(group)?.entries() ?? [];
      return entries
        .filter(({ position }) => after === undefined || position > (after as number))
        .sort((a, b) => a.position - b.position)
        .slice(0, limit)
        .map(({ message, position }) => ({ message, position }));
    },
    remove(topic, group, positions) {
      return topics.peek(topic)?.groups.get(group)?.remove(new Set(positions)) ?? 0;
    },
  };
}

function isServed(topic: QueueTopic): boolean {
  for (const queue of topic.queues) if (queue.members.length > 0) return true;
  return false;
}

/** Addressed to the group that keeps dead letters, and free of what might end it there or keep it back. */
function toDeadLetter(message: Message, topic: string, headers: Message["headers"]): Message {
  const merged = Object.assign(Object.create(null) as Record<string, string>, message.headers, headers);
  return {
    ...message,
    topic,
    group: deadLetterGroup,
    headers: Object.freeze(merged),
    deliverAt: undefined,
    expiresAt: undefined,
    mandatory: false,
    replyTo: undefined,
    native: undefined,
  };
}

const full = (topic: string): WaybillError => new WaybillError("BUFFER_FULL", `a queue of topic "${topic}" is full`);
const unroutable = (topic: string): WaybillError => new WaybillError("UNROUTABLE", `topic "${topic}" has no group`);
const noResponders = (topic: string): WaybillError => new WaybillError("NO_RESPONDERS", `nobody is subscribed to "${topic}"`);
