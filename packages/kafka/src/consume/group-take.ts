import type { Delivery, Credit, Message } from "@waybill/core";
import type { KafkaSession } from "../session/session.ts";
import { messageOf, type Origin } from "../wire/message.ts";
import { createAside, holdHeader } from "./aside.ts";
import type { GroupLog } from "./group-logs.ts";
import type { GroupMember } from "./group-member.ts";
import type { Part } from "./part.ts";
import { positionOf } from "./position.ts";
import type { Handle } from "./progress.ts";

export interface TopicLog extends GroupLog {
  readonly topic: string;
}

/** Takes out of the partitions of a subscription what may be handed out now. */
export interface GroupTake {
  /** What may be in hand. */
  credit: Credit;
  take(): Delivery[];
  /** Settled, and not confirmed yet: their credit is not free. `by`: 1 or -1. */
  settling(messages: number, bytes: number): void;
  /** Some partition is gone. */
  forgetGone(): void;
  close(): void;
}

export interface GroupTakeOptions {
  readonly session: KafkaSession;
  readonly group: string;
  readonly credit: Credit;
  readonly parts: ReadonlySet<Part>;
  readonly member: () => GroupMember;
  /** What a log of Kafka is to this group. */
  readonly logOf: (log: string) => TopicLog;
  readonly logsOf: (topic: string) => readonly GroupLog[];
  readonly gap: (count: number, reason: string) => void;
  /** There may be something to take that was not there before. */
  readonly wake: () => void;
}

interface Source {
  readonly origin: Origin;
  readonly log: TopicLog;
}

interface Budget {
  left: number;
  bytes: number;
}

export function createGroupTake(options: GroupTakeOptions): GroupTake {
  const { session, parts, member, gap } = options;
  const { clock } = session;
  const sources = new Map<Part, Source>();
  const resuming = new Set<Part>();
  const unconfirmed = { messages: 0, bytes: 0 };
  let { credit } = options;
  let turn = 0;
  let isOver = false;
  const aside = createAside({
    session,
    logs: (message) => options.logsOf(message.topic),
    wake: options.wake,
    moved(handle) {
      if (handle.part.state === "gone") return;
      handle.part.progress.finish(handle);
      member().commits.touch(handle.part);
    },
  });

  function take(): Delivery[] {
    const deliveries: Delivery[] = [];
    if (isOver || credit.messages <= 0) return deliveries;
    const budget: Budget = { left: credit.messages - unconfirmed.messages, bytes: unconfirmed.bytes };
    const ours: Part[] = [];
    for (const part of parts) {
      budget.left -= part.progress.held - aside.countOf(part);
      budget.bytes += part.progress.heldBytes - aside.bytesOf(part);
      if (part.state === "ready") ours.push(part);
    }
    // The partitions take turns.
    turn += 1;
    while (budget.left > 0) {
      const due = aside.due();
      if (due === undefined) break;
      give(due, deliveries, budget);
    }
    for (let step = 0; step < ours.length && budget.left > 0; step += 1) {
      const part = ours[(turn + step) % ours.length];
      if (part !== undefined) takeFrom(part, deliveries, budget);
    }
    return deliveries;
  }

  function takeFrom(part: Part, deliveries: Delivery[], budget: Budget): void {
    const { progress, queue } = part;
    const had = queue.bytes;
    while (budget.left > 0) {
      const released = progress.released();
      if (released !== undefined) {
        if (budget.bytes + released.bytes > credit.bytes && budget.bytes > 0) break;
        give(progress.handOutAgain(released), deliveries, budget);
        continue;
      }
      const record = queue.peek();
      if (record === undefined) break;
      const { offset } = record;
      if (offset < progress.next || progress.isFinished(offset)) {
        progress.pass(offset);
        queue.shift();
        continue;
      }
      if (offset >= part.openBelow) {
        part.isShort = true;
        member().commits.touch(part);
        break;
      }
      const size = record.value?.byteLength ?? 0;
      // One that is above the credit by itself goes alone.
      if (budget.bytes + size > credit.bytes && budget.bytes > 0) break;
      const { origin, log } = sourceOf(part);
      const message = messageOf(record, origin);
      const now = clock.now();
      if (log.stepMs !== undefined && isHeld(part, message, now)) break;
      const leftMs = (message.deliverAt ?? 0) - now;
      const isEarly = leftMs > 0;
      if (isEarly && !aside.hasRoom(leftMs)) break;
      queue.shift();
      if (message.expiresAt !== undefined && message.expiresAt <= now) {
        progress.pass(offset);
        gap(1, "expired");
        continue;
      }
      const handle = progress.handOut(part, offset, message, size);
      if (isEarly) aside.put(handle);
      else give(handle, deliveries, budget);
    }
    // Written again before all of what is written is handed out; what was only passed is in no hurry.
    if (progress.next * 2 > part.openBelow + part.writtenNext) member().commits.touch(part);
    else if (progress.version !== part.writtenVersion) member().commits.touchLater(part);
    if (had > 0 && queue.bytes < session.settings.maxPartitionFetchBytes) member().wake();
  }

  /** In the log of a step all wait equally long: what is not ready holds up nothing that is. */
  function isHeld(part: Part, message: Message, now: number): boolean {
    const headers = message.headers as Record<string, string>;
    const leftMs = Number(headers[holdHeader] ?? 0) - now;
    delete headers[holdHeader];
    if (!(leftMs > 0)) return false;
    if (!resuming.has(part)) {
      resuming.add(part);
      clock.after(Math.min(leftMs, 60_000), () => {
        resuming.delete(part);
        options.wake();
      });
    }
    return true;
  }

  function give(handle: Handle, deliveries: Delivery[], budget: Budget): void {
    const { part, offset, message, bytes, note } = handle;
    budget.left -= 1;
    budget.bytes += bytes;
    deliveries.push({
      message,
      attempt: undefined,
      position: positionOf(sourceOf(part).log.prefix, part.partition, offset),
      part: part.name,
      generation: part.generation,
      leaseMs: undefined,
      note,
      takenOver: offset < part.suspectBelow,
      handle,
    });
  }

  function sourceOf(part: Part): Source {
    let source = sources.get(part);
    if (source === undefined) {
      const log = options.logOf(part.topic);
      const group = log.prefix === "" ? undefined : options.group;
      source = { log, origin: { log: part.topic, partition: part.partition, topic: log.topic, group } };
      sources.set(part, source);
    }
    return source;
  }

  return {
    get credit() {
      return credit;
    },
    set credit(next) {
      credit = next;
    },
    take,
    settling(messages, bytes) {
      unconfirmed.messages += messages;
      unconfirmed.bytes += bytes;
    },
    forgetGone() {
      for (const part of sources.keys()) {
        if (part.state !== "gone") continue;
        sources.delete(part);
        aside.forget(part);
      }
    },
    close() {
      isOver = true;
      aside.close();
    },
  };
}
