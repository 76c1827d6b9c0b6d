import { describeFailure } from "./cause.ts";
import type { Clock } from "./clock.ts";
import { deadLetterCopy, deadLetterTopic, plainHeaders, withCause } from "./dead-letter.ts";
import type { WaybillError } from "./errors.ts";
import { noteHeader, writeNote, type Item } from "./item.ts";
import type { Plan } from "./plan.ts";
import type { Publisher } from "./publisher.ts";
import type { Settler } from "./settler.ts";
import type { Capabilities, Message, SettleOutcome } from "./transport.ts";
import type { Verdict } from "./attempt.ts";
import { delayAfter, isFinal } from "./retry.ts";

/** Above it a retry goes back to the transport, which keeps it without holding up a commit or a slot of credit. */
const inProcessMs = 10_000;
/** Between two tries to hand over a dead letter or a delayed copy. */
const handOverMs = 1_000;

export interface FailureHost {
  readonly clock: Clock;
  readonly plan: Plan;
  readonly publisher: Publisher;
  readonly settler: Settler;
  readonly capabilities: (topic: string) => Capabilities;
  /** Again after the delay, without leaving our hands. */
  readonly delay: (item: Item, delayMs: number, run: () => void) => void;
  readonly runAgain: (item: Item) => void;
  /** Its verdict is final: count it, and let the next of its key run. */
  readonly done: (item: Item) => void;
  readonly retried: (item: Item, delayMs: number, failure: { readonly code: string; readonly text: string }) => void;
  readonly deadLettered: (item: Item, failure: { readonly code: string; readonly text: string }) => void;
  readonly dropped: (item: Item, failure: { readonly code: string; readonly text: string }) => void;
}

export interface Failures {
  /** An attempt failed, and it counts. */
  failed(item: Item, verdict: Verdict | undefined, error: unknown): void;
  /** The store or the transport failed, not the handler: again, uncounted. */
  postponed(item: Item): void;
  /** Not worth an attempt: it cannot be read, or it has ended too many processes. */
  giveUp(item: Item, error: WaybillError): void;
  /** Of what waits in process when its time here is over. */
  handBack(item: Item, delayMs: number): void;
  /** Writes down that it is about to run alone; in a copy where the transport keeps no notes. */
  noteAlone(item: Item): Promise<SettleOutcome | "moved">;
}

export function createFailures(host: FailureHost): Failures {
  const { clock, plan, publisher, settler } = host;

  function failed(item: Item, verdict: Verdict | undefined, error: unknown): void {
    item.failures += 1;
    if (item.failures === 1) item.firstFailureAt = clock.now();
    // It came back from being alone: that attempt was no crash.
    item.alone = item.delivery.attempt === undefined ? Math.max(0, item.alone - 1) : 0;
    // The verdict holds even when the handler swallowed its throw and then threw something else.
    const cause = verdict?.error ?? error;
    const final = verdict === undefined ? isFinal(plan.retry, cause) : verdict.kind === "dead-letter";
    if (final || attemptsMade(item) >= plan.retry.attempts) return end(item, cause);
    const asked = verdict?.kind === "retry" ? verdict.afterMs : undefined;
    const delayMs = asked ?? delayAfter(plan.retry, item.failures);
    host.retried(item, delayMs, describeFailure(cause));
    retry(item, delayMs);
  }

  /**
   * Where the transport's own retry carries no note, its count is all there is. It may hold crashes too, but the attempt that
   * failed just now was the handler's.
   */
  function attemptsMade(item: Item): number {
    const can = host.capabilities(item.delivery.message.topic);
    const uncounted = can.note.level === "none" && can.retry.level !== "none";
    return uncounted ? Math.max(item.failures, item.delivery.attempt ?? 0) : item.failures;
  }

  function retry(item: Item, delayMs: number): void {
    const { message } = item.delivery;
    const can = host.capabilities(message.topic);
    if (plan.orderBy === "key" || plan.retry.inProcess || can.settle.level === "none") return later(item, delayMs);
    if (fits(can.retry.level, can.retry.limits?.["maxMs"], delayMs)) {
      void settler.settle({ kind: "retry", delivery: item.delivery, delayMs, note: noteOf(item) });
      host.done(item);
      return;
    }
    if (delayMs > inProcessMs && can.publishToGroup.level !== "none" && fits(can.delay.level, can.delay.limits?.["maxMs"], delayMs)) {
      const headers = Object.assign(plainHeaders(message.headers), { [noteHeader]: noteOf(item) });
      void move(item, { ...message, group: plan.group, headers, deliverAt: clock.now() + delayMs });
      return;
    }
    later(item, delayMs);
  }

  function later(item: Item, delayMs: number): void {
    host.delay(item, delayMs, () => host.runAgain(item));
  }

  function end(item: Item, error: unknown): void {
    const failure = describeFailure(error);
    const { message, position } = item.delivery;
    const can = host.capabilities(message.topic);
    const kept = plan.retry.deadLetter && (can.deadLetter.level !== "none" || can.publishToGroup.level !== "none");
    if (!kept) {
      host.dropped(item, failure);
      settler.ack(item.delivery);
      host.done(item);
      return;
    }
    const now = clock.now();
    const headers = withCause(message.headers, {
      code: failure.code,
      text: failure.text,
      attempts: Math.max(item.failures + item.crashes, 1),
      topic: message.topic,
      group: plan.group,
      position: position === undefined ? undefined : String(position),
      firstFailureAt: item.firstFailureAt === 0 ? now : item.firstFailureAt,
      lastFailureAt: now,
    });
    const topic = deadLetterTopic(message.topic, plan.group);
    if (can.deadLetter.level !== "none") {
      void settler.settle({ kind: "dead-letter", delivery: item.delivery, topic, headers }).then((outcome) => {
        if (outcome !== "lost") host.deadLettered(item, failure);
        host.done(item);
      });
      return;
    }
    void move(item, deadLetterCopy(message, topic, headers), () => host.deadLettered(item, failure));
  }

  /** Publishes the copy, waits for its confirm, then acks the original; tries for as long as it takes. */
  async function move(item: Item, copy: Message, moved?: () => void): Promise<void> {
    try {
      await publisher.add(copy, sizeOf(copy.body));
    } catch {
      if (!item.gone) host.delay(item, handOverMs, () => void move(item, copy, moved));
      return;
    }
    moved?.();
    if (item.gone) return;
    settler.ack(item.delivery);
    host.done(item);
  }

  return {
    failed,
    postponed(item) {
      later(item, delayAfter(plan.retry, 1));
    },
    giveUp(item, error) {
      if (item.firstFailureAt === 0) item.firstFailureAt = clock.now();
      end(item, error);
    },
    handBack(item, delayMs) {
      const can = host.capabilities(item.delivery.message.topic);
      if (can.settle.level === "none") return;
      const keepsDelay = fits(can.retry.level, can.retry.limits?.["maxMs"], delayMs);
      if (keepsDelay) void settler.settle({ kind: "retry", delivery: item.delivery, delayMs, note: noteOf(item) });
      else void settler.settle({ kind: "release", delivery: item.delivery });
    },
    async noteAlone(item) {
      const { message, attempt } = item.delivery;
      const can = host.capabilities(message.topic);
      // Written already: it was handed back in good order before it could end.
      if (attempt !== undefined && item.alone === attempt) return "done";
      if (can.note.level !== "none") {
        item.alone = attempt ?? item.alone + 1;
        return settler.settle({ kind: "extend", delivery: item.delivery, note: noteOf(item) });
      }
      if (can.publishToGroup.level === "none") return "done";
      // The copy starts at delivery 1.
      item.alone = attempt === undefined ? item.alone + 1 : 1;
      const headers = Object.assign(plainHeaders(message.headers), { [noteHeader]: noteOf(item) });
      await move(item, { ...message, group: plan.group, headers, deliverAt: undefined });
      return "moved";
    },
  };
}

function fits(level: string, maxMs: number | undefined, delayMs: number): boolean {
  return level !== "none" && (maxMs === undefined || delayMs <= maxMs);
}

function noteOf(item: Item): string {
  return writeNote({ failures: item.failures, firstFailureAt: item.firstFailureAt, alone: item.alone });
}

/** By reference a body weighs nothing here. */
export function sizeOf(body: unknown): number {
  return body instanceof Uint8Array ? body.byteLength : 0;
}
