import type { Clock } from "../clock.ts";
import { WaybillError } from "../errors.ts";
import type { Delivery, Message, Settlement, SettleOutcome, SubscribeRequest } from "../transport.ts";
import { weigh } from "./body.ts";
import { createGaps } from "./gap.ts";
import type { Leaving, LogGroup } from "./log-group.ts";
import type { LogMember } from "./log-member.ts";
import type { Handle, Progress } from "./log-progress.ts";
import { positionOf, retryLabel, type LogTopic } from "./log-topic.ts";
import { doneAll } from "./outcomes.ts";
import type { Attachment, Port } from "./shape.ts";
import type { Topics } from "./topics.ts";

export const tooOld = "older than what is kept";

/** A member of a group, in one topic or in all that match a pattern. */
export function attachLogGroup(topics: Topics<LogTopic>, clock: Clock, request: SubscribeRequest, port: Port, name: string): Attachment {
  const member: LogMember = { port, request, owned: new Set(), inFlight: 0, inFlightBytes: 0 };
  const gap = createGaps(request);
  const joined = new Set<LogGroup>();
  let unwatch: (() => void) | undefined;
  let turn = 0;

  function join(topic: LogTopic): void {
    const group = topic.ensureGroup(name, request.from);
    joined.add(group);
    group.join(member);
  }

  function enter(): void {
    try {
      if (request.topic !== undefined) return join(topics.ensure(request.topic));
      const pattern = request.pattern as string;
      unwatch = topics.watch(pattern, join);
      topics.bind(pattern, name);
    } catch (error) {
      leave("cleanly");
      throw error;
    }
  }

  function leave(how: Leaving): void {
    unwatch?.();
    for (const group of joined) group.leave(member, how);
    joined.clear();
  }

  function take(): Delivery[] {
    const deliveries: Delivery[] = [];
    const ours = [...member.owned].filter(({ revoking }) => !revoking);
    // What was put back for this group has waited longest. The partitions take turns.
    for (const each of ours) if (each.part.label === retryLabel) takeFrom(each, deliveries);
    turn += 1;
    for (let step = 0; step < ours.length; step += 1) {
      const each = ours[(turn + step) % ours.length];
      if (each !== undefined && each.part.label !== retryLabel) takeFrom(each, deliveries);
    }
    return deliveries;
  }

  function takeFrom(progress: Progress, deliveries: Delivery[]): void {
    const { part } = progress;
    const { credit } = port;
    const now = clock.now();
    while (member.inFlight < credit.messages) {
      const offset = progress.peek((count) => gap(count, tooOld));
      if (offset === undefined) break;
      const message = part.at(offset);
      if (message === undefined || isExpired(message, now)) {
        progress.pass(offset);
        gap(1, message === undefined ? tooOld : "expired");
        continue;
      }
      const bytes = weigh(message.body);
      // One that is above the credit by itself goes alone.
      if (member.inFlightBytes + bytes > credit.bytes && member.inFlightBytes > 0) break;
      member.inFlight += 1;
      member.inFlightBytes += bytes;
      const handle = progress.handOut(offset, bytes);
      deliveries.push({
        message,
        attempt: undefined,
        position: positionOf(part, offset),
        part: part.name,
        generation: progress.generation,
        leaseMs: undefined,
        note: progress.noteOf(offset),
        takenOver: progress.isSuspect(offset),
        handle,
      });
    }
  }

  function settle(settlements: readonly Settlement[]): readonly SettleOutcome[] {
    refuse(settlements);
    let outcomes: SettleOutcome[] | undefined;
    for (let index = 0; index < settlements.length; index += 1) {
      const settlement = settlements[index] as Settlement;
      if (!settleOne(settlement)) (outcomes ??= [...doneAll(settlements.length)])[index] = "lost";
    }
    port.wake();
    return outcomes ?? doneAll(settlements.length);
  }

  function settleOne(settlement: Settlement): boolean {
    const handle = settlement.delivery.handle as Handle | undefined;
    const progress = handle?.progress;
    if (handle === undefined || progress?.owner !== member || !progress.isHeld(handle)) return false;
    if (settlement.kind === "ack") progress.finish(handle);
    else if (settlement.kind === "release") progress.release(handle);
    else if (settlement.kind === "extend" && settlement.note !== undefined) progress.note(handle.offset, settlement.note);
    return true;
  }

  enter();
  return {
    address: undefined,
    take,
    settle,
    drop(died) {
      const lost = [...member.owned].map(({ part, generation }) => ({ kind: "lost", part: part.name, generation }) as const);
      leave(died ? "died" : "disconnected");
      if (!died) for (const event of lost) void request.onEvent(event);
    },
    resume: enter,
    leave: () => leave("cleanly"),
  };
}

export function isExpired({ expiresAt }: Message, now: number): boolean {
  return expiresAt !== undefined && expiresAt <= now;
}

/** What a log cannot do is refused before anything is done. */
function refuse(settlements: readonly Settlement[]): void {
  for (const { kind } of settlements) {
    if (kind === "retry") throw new WaybillError("CAPABILITY", "retry: a log goes forward; publish a copy to the group");
    if (kind === "dead-letter") throw new WaybillError("CAPABILITY", "dead-letter: a log moves nothing; publish a copy");
  }
}
