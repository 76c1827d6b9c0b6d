import {
  createDeliveries,
  WaybillError,
  type Settlement,
  type SettleOutcome,
  type SubscribeRequest,
  type Subscription,
  type SubscriptionEvent,
  type Transaction,
} from "@waybill/core";
import type { KafkaSession } from "../session/session.ts";
import { createGaps } from "./gaps.ts";
import type { GroupLog } from "./group-logs.ts";
import type { GroupMember, GroupReader } from "./group-member.ts";
import { createGroupTake, type TopicLog } from "./group-take.ts";
import { isOffsetTransaction } from "./offset-transaction.ts";
import type { Part } from "./part.ts";
import type { Handle } from "./progress.ts";

export interface GroupSubscription {
  readonly reader: GroupReader;
  readonly subscription: Subscription;
  /** It will see nothing more. */
  end(): void;
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
  const parts = new Set<Part>();
  const gap = createGaps(request.onEvent);
  let disposed: Promise<void> | undefined;
  let isOver = false;
  const intake = createDeliveries({ take: () => taking.take(), returned: () => taking.close() });
  const taking = createGroupTake({ ...options, credit: request.credit, parts, gap, wake: intake.wake });

  async function settle(settlements: readonly Settlement[], { tx }: { readonly tx?: Transaction } = {}): Promise<readonly SettleOutcome[]> {
    refuse(settlements);
    if (tx !== undefined) return settleIn(tx, settlements);
    const outcomes: (SettleOutcome | Part)[] = [];
    const touched = new Map<Part, number>();
    const finishing = { messages: 0, bytes: 0 };
    for (const settlement of settlements) outcomes.push(settleOne(settlement, touched, finishing));
    if (touched.size > 0) {
      taking.settling(finishing.messages, finishing.bytes);
      await member().commits.written(touched, session.settings.requestTimeoutMs);
      taking.settling(-finishing.messages, -finishing.bytes);
    }
    // Once whoever settled knows of it.
    queueMicrotask(intake.wake);
    return outcomes.map((outcome) => (typeof outcome === "string" ? outcome : outcomeOf(outcome, touched.get(outcome) ?? 0)));
  }

  async function settleIn(tx: Transaction, settlements: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
    if (!isOffsetTransaction(tx)) throw new WaybillError("CAPABILITY", "the transaction is not of this transport");
    if (settlements.some(({ kind }) => kind !== "ack"))
      throw new WaybillError("CAPABILITY", "a transaction takes acknowledgements along, nothing else");
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
      taking.forgetGone();
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
    taking.close();
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
        taking.credit = next;
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
