import {
  WaybillError,
  type Delivery,
  type Message,
  type Settlement,
  type SettleOutcome,
  type SubscribeRequest,
  type Subscription,
  type SubscriptionEvent,
  type Transaction,
} from "@waybill/core";
import type { KafkaSession } from "../session/session.ts";
import { messageOf, type Origin } from "../wire/message.ts";
import { createAside, holdHeader } from "./aside.ts";
import { createGaps } from "./gaps.ts";
import type { GroupLog } from "./group-logs.ts";
import type { GroupMember, GroupReader } from "./group-member.ts";
import { createIntake } from "./intake.ts";
import { isOffsetTransaction } from "./offset-transaction.ts";
import type { Part } from "./part.ts";
import { positionOf } from "./position.ts";
import type { Handle } from "./progress.ts";

export interface GroupSubscription {
  readonly reader: GroupReader;
  readonly subscription: Subscription;
  /** It will see nothing more. */
  end(): void;
}

export interface TopicLog extends GroupLog {
  readonly topic: string;
}

interface Source {
  readonly origin: Origin;
  readonly log: TopicLog;
}

export interface GroupSubscriptionOptions {
  readonly session: KafkaSession;
  readonly request: SubscribeRequest;
  readonly group: string;
  readonly member: () => GroupMember;
  readonly reads: (log: string) => boolean;
  /** What a log of Kafka is to this group. */
  readonly logOf: (log: string) => TopicLog;
  readonly logsOf: (topic: string) => readonly GroupLog[];
  readonly startOf: GroupReader["startOf"];
  readonly dispose: () => Promise<void>;
}

export function createGroupSubscription(options: GroupSubscriptionOptions): GroupSubscription {
  const { session, request, member } = options;
  const { clock } = session;
  const parts = new Set<Part>();
  const sources = new Map<Part, Source>();
  const resuming = new Set<Part>();
  // Settled, and not confirmed yet: the credit is theirs until then.
  const settling = { messages: 0, bytes: 0 };
  const gap = createGaps(request.onEvent);
  let { credit } = request;
  let disposed: Promise<void> | undefined;
  let turn = 0;
  let isOver = false;
  const intake = createIntake(take, () => (isOver = true));
  const aside = createAside({
    session,
    logs: (message) => options.logsOf(message.topic),
    wake: intake.wake,
    moved(handle) {
      if (handle.part.state === "gone") return;
      handle.part.progress.finish(handle);
      member().commits.touch(handle.part);
    },
  });

  function take(): Delivery[] {
    const deliveries: Delivery[] = [];
    if (isOver || credit.messages <= 0) return deliveries;
    let left = credit.messages;
    let bytes = 0;
    const ours: Part[] = [];
    for (const part of parts) {
      left -= part.progress.held - aside.countOf(part);
      bytes += part.progress.heldBytes - aside.bytesOf(part);
      if (part.state === "ready") ours.push(part);
    }
    // The partitions take turns.
    turn += 1;
    const budget = { left, bytes };
    budget.left -= settling.messages;
    budget.bytes += settling.bytes;
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

  function takeFrom(part: Part, deliveries: Delivery[], budget: { left: number; bytes: number }): void {
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
    if (progress.next * 2 > part.openBelow + part.writtenNext) member().commits.touchLater(part);
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
        intake.wake();
      });
    }
    return true;
  }

  function give(handle: Handle, deliveries: Delivery[], budget: { left: number; bytes: number }): void {
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

  async function settle(settlements: readonly Settlement[], { tx }: { readonly tx?: Transaction } = {}): Promise<readonly SettleOutcome[]> {
    refuse(settlements);
    if (tx !== undefined) return settleIn(tx, settlements);
    const outcomes: (SettleOutcome | Part)[] = [];
    const touched = new Map<Part, number>();
    const finishing = { messages: 0, bytes: 0 };
    for (const settlement of settlements) outcomes.push(settleOne(settlement, touched, finishing));
    if (touched.size > 0) {
      settling.messages += finishing.messages;
      settling.bytes += finishing.bytes;
      await member().commits.written(touched, session.settings.requestTimeoutMs);
      settling.messages -= finishing.messages;
      settling.bytes -= finishing.bytes;
    }
    // Once whoever settled knows of it.
    queueMicrotask(intake.wake);
    return outcomes.map((outcome) => (typeof outcome === "string" ? outcome : outcomeOf(outcome, touched.get(outcome) ?? 0)));
  }

  async function settleIn(tx: Transaction, settlements: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
    if (!isOffsetTransaction(tx)) throw new WaybillError("CAPABILITY", "the transaction is not of this transport");
    if (settlements.some(({ kind }) => kind !== "ack")) throw new WaybillError("CAPABILITY", "a transaction takes acknowledgements along, nothing else");
    const handles: Handle[] = [];
    const places: number[] = [];
    settlements.forEach(({ delivery }, index) => {
      const handle = delivery.handle as Handle | undefined;
      if (handle === undefined || handle.part.generation !== delivery.generation || !parts.has(handle.part)) return;
      handles.push(handle);
      places.push(index);
    });
    const outcomes: SettleOutcome[] = settlements.map(() => "lost");
    if (handles.length === 0) return outcomes;
    (await member().settling.settle(tx, handles)).forEach((outcome, index) => (outcomes[places[index] ?? 0] = outcome));
    return outcomes;
  }

  /** The part where a commit has the last word. */
  function settleOne(
    settlement: Settlement,
    touched: Map<Part, number>,
    finishing: { messages: number; bytes: number },
  ): SettleOutcome | Part {
    const { delivery } = settlement;
    const handle = delivery.handle as Handle | undefined;
    if (handle === undefined || !handle.held || handle.part.state === "gone") return "lost";
    const { part } = handle;
    const { progress } = part;
    if (part.generation !== delivery.generation || !parts.has(part)) return "lost";
    if (settlement.kind === "release") {
      progress.release(handle);
      return "done";
    }
    if (settlement.kind === "ack") {
      progress.finish(handle);
      finishing.messages += 1;
      finishing.bytes += handle.bytes;
    } else if (settlement.kind === "extend" && settlement.note !== undefined) progress.note(handle, settlement.note);
    else return "done";
    touched.set(part, progress.version);
    return part;
  }

  const reader: GroupReader = {
    parts,
    reads: options.reads,
    startOf: options.startOf,
    wake() {
      for (const part of sources.keys()) {
        if (part.state !== "gone") continue;
        sources.delete(part);
        aside.forget(part);
      }
      intake.wake();
    },
    gap,
    onEvent: (event: SubscriptionEvent) => request.onEvent(event),
    failed(error) {
      if (isOver) return;
      void request.onEvent({ kind: "failed", error });
      end();
    },
  };

  function end(): void {
    isOver = true;
    aside.close();
    intake.end();
  }

  return {
    reader,
    end,
    subscription: {
      address: undefined,
      deliveries: () => intake.deliveries,
      settle,
      credit(next) {
        credit = next;
        intake.wake();
      },
      [Symbol.asyncDispose]() {
        end();
        return (disposed ??= options.dispose());
      },
    },
  };
}

function outcomeOf(part: Part, version: number): SettleOutcome {
  if (part.writtenVersion >= version) return "done";
  return part.state === "gone" ? "lost" : "unknown";
}

/** What a log cannot do is refused before anything is done. */
function refuse(settlements: readonly Settlement[]): void {
  for (const { kind } of settlements) {
    if (kind === "retry") throw new WaybillError("CAPABILITY", "retry: a log goes forward; publish a copy to the group");
    if (kind === "dead-letter") throw new WaybillError("CAPABILITY", "dead-letter: a log moves nothing; publish a copy");
  }
}
