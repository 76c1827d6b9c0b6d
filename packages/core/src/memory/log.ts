import { checkOptions, type ObjectSpec } from "../config.ts";
import { WaybillError } from "../errors.ts";
import type { Browsed, BrowseRequest, Message } from "../transport.ts";
import { createInboxes } from "./inbox.ts";
import { attachLogGroup } from "./log-attach.ts";
import { logCapabilities } from "./log-capabilities.ts";
import { createLogPart, type LogPart } from "./log-part.ts";
import { createLogReader, readTopic, type LogReader } from "./log-reader.ts";
import { createLogTopic, positionOf, type LogTopic } from "./log-topic.ts";
import type { Settings } from "./options.ts";
import { outcomesOf } from "./outcomes.ts";
import { cannot, checkRequest, refusalOf } from "./refusal.ts";
import { createSchedule, monotonicOf } from "./schedule.ts";
import { muchWaiting, type Shape } from "./shape.ts";
import { createTopics } from "./topics.ts";

const publishNative: ObjectSpec = { partition: { type: "integer", min: 0 } };

/** A log: what is published is kept, in partitions; a group commits how far it is, and each partition has one member at a time. */
export function createLogShape(settings: Settings): Shape {
  const { clock } = settings;
  let generation = 0;
  let order = 0;
  let behind = false;
  const nextGeneration = (): number => (generation += 1);
  const topics = createTopics<LogTopic>((name) => createLogTopic(name, settings, nextGeneration));
  const readers = new Set<LogReader>();
  const inboxes = createInboxes((address) => createLogPart(address, "0", settings.retain));
  const later = createSchedule<Message>(clock, publishDue);

  function refuse(message: Message): WaybillError | undefined {
    const refused = refusalOf(message, settings) ?? refuseNative(message.native);
    if (refused !== undefined) return refused;
    if (message.priority !== undefined) return cannot("priority", "a log is read in its order");
    if (message.deliverAt !== undefined && later.size >= settings.retain) {
      return new WaybillError("BUFFER_FULL", "too many messages wait for their time");
    }
    const served = message.group !== undefined || inboxes.owns(message.topic) || (topics.find(message.topic)?.groups.size ?? 0) > 0;
    return message.mandatory && !served ? new WaybillError("UNROUTABLE", `topic "${message.topic}" has no group`) : undefined;
  }

  function refuseNative(native: unknown): WaybillError | undefined {
    if (native === undefined) return undefined;
    const problems = checkOptions(native, publishNative, "native");
    const { partition = 0 } = native as { partition?: number };
    if (problems.length === 0 && partition < settings.partitions) return undefined;
    return new WaybillError("CONFIG", `native: expected a partition from 0 to ${settings.partitions - 1}`);
  }

  /** A delayed message lies in a log of its own until it is due, and is written to its partition then. */
  function put(message: Message): void {
    const at = message.deliverAt === undefined ? 0 : monotonicOf(clock, message.deliverAt);
    if (message.deliverAt !== undefined && at > clock.monotonic()) later.add(message, at);
    else append(message);
  }

  function append(message: Message): void {
    order += 1;
    partFor(message)?.append(message, order);
  }

  function partFor(message: Message): LogPart | undefined {
    if (inboxes.owns(message.topic)) return inboxes.find(message.topic);
    const topic = topics.ensure(message.topic);
    return message.group === undefined ? topic.partitionFor(message) : topic.ensureGroup(message.group).retries;
  }

  function publishDue(messages: readonly Message[]): void {
    for (const message of messages) append(message);
    wake(new Set(messages.map(({ topic }) => topic)));
  }

  function wake(names: ReadonlySet<string>): void {
    behind = false;
    for (const name of names) {
      for (const { members, left } of topics.peek(name)?.groups.values() ?? []) {
        for (const { port } of members) port.wake();
        if (members.length > 0 && left() > muchWaiting) behind = true;
      }
    }
    for (const reader of readers) reader.resume();
  }

  function browse({ topic: name, group: of, after, limit, signal }: BrowseRequest): readonly Browsed[] {
    if (signal.aborted) throw new WaybillError("ABORTED", "the caller's signal fired");
    const topic = topics.peek(name);
    const group = topic?.groups.get(of);
    if (topic === undefined || group === undefined) return [];
    const place = after === undefined ? undefined : topic.place(after, group);
    const from = place === undefined ? 0 : place.part.orderOf(place.offset) + 1;
    const found: { readonly order: number; readonly browsed: Browsed }[] = [];
    for (const { part, committed, isFinished } of group.progress) {
      const start = Math.max(committed, part.offsetFrom(from));
      for (let offset = start, taken = 0; offset < part.end && taken < limit; offset += 1) {
        const message = part.at(offset);
        if (message === undefined || isFinished(offset)) continue;
        taken += 1;
        found.push({ order: part.orderOf(offset), browsed: { message, position: positionOf(part, offset) } });
      }
    }
    return found
      .toSorted((a, b) => a.order - b.order)
      .slice(0, limit)
      .map(({ browsed }) => browsed);
  }

  return {
    capabilities: logCapabilities(settings),
    // Whoever comes later finds it.
    unheard: () => 0,
    isBehind: () => behind,
    publish(messages) {
      const names = new Set<string>();
      const outcomes = outcomesOf(messages, (message) => {
        const error = refuse(message);
        if (error !== undefined) return error;
        put(message);
        names.add(message.topic);
        return undefined;
      });
      wake(names);
      return outcomes;
    },
    attach(request, port) {
      checkRequest(request, settings);
      if (request.group !== undefined) return attachLogGroup(topics, clock, request, port, request.group);
      const address = request.inbox ? inboxes.open() : undefined;
      let unwatch: (() => void) | undefined;
      const reader = createLogReader(clock, request, port, address, () => {
        unwatch?.();
        readers.delete(reader);
        if (address !== undefined) inboxes.close(address);
      });
      if (address !== undefined) reader.add(inboxes.find(address) as LogPart, 0);
      else if (request.topic !== undefined) readTopic(reader, topics.ensure(request.topic), request);
      else unwatch = topics.watch(request.pattern as string, (topic) => readTopic(reader, topic, request));
      readers.add(reader);
      return reader;
    },
    inspect(topic, group) {
      return topics.peek(topic)?.groups.get(group)?.inspect() ?? { depth: 0, inFlight: 0, lagMessages: 0, oldestAgeMs: 0, consumers: [] };
    },
    declare: topics.declare,
    check: topics.missing,
    browse,
    seek(name, of, to) {
      const topic = topics.ensure(name);
      const group = topic.ensureGroup(of, to);
      if (group.members.length > 0) throw new WaybillError("BUSY", `group "${of}" of topic "${name}" has members`);
      // Places are found before any is changed: a wrong position moves nothing.
      const offsets = topic.partitions.map((part) => topic.offsetOf(part, to));
      group.progress.forEach((each, index) => {
        const offset = offsets[index];
        if (offset !== undefined) each.moveTo(offset);
        else if (to === "earliest" || to === "latest") each.moveTo(to === "latest" ? each.part.end : each.part.first);
      });
    },
  };
}
