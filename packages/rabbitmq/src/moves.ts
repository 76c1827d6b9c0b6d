import type { Delivery, Settlement, SettleOutcome } from "@waybill/core";
import type { Channel, ConsumeMessage } from "amqplib";
import type { Acknowledger } from "./acknowledger.ts";
import { isMarked } from "./careful.ts";
import type { Consumption } from "./consumption.ts";
import type { KeyedRetries, Redelivery } from "./keyed.ts";
import type { Link } from "./link.ts";
import { attemptsBefore, returnsOf, toMessage } from "./properties.ts";
import type { Rewriter } from "./rewrite.ts";

/** A channel, and what came by it. */
export interface Epoch {
  readonly link: Link;
  readonly channel: Channel;
  readonly generation: number;
  readonly queue: string;
  readonly deliveryLimit: number | undefined;
  readonly acks: Acknowledger;
  readonly intake: Consumption;
  readonly retries: KeyedRetries;
  /** Being written again, or waiting for their next attempt here: not to be settled. */
  readonly moving: Set<number>;
  /** Of those that were handed out once more: what they were handed out as. */
  readonly again: Map<number, Redelivery>;
}

/** What becomes of a message that is neither acknowledged nor kept: it is written again, or given back. */
export interface Moves {
  renew(from: Epoch, tag: number, message: Delivery["message"], attempts: number): Promise<void>;
  retry(now: Epoch, raw: ConsumeMessage, settlement: Extract<Settlement, { kind: "retry" }>): Promise<SettleOutcome>;
  putBack(now: Epoch, raw: ConsumeMessage): SettleOutcome | Promise<SettleOutcome>;
  writeAgain(now: Epoch, raw: ConsumeMessage): Promise<SettleOutcome>;
}

export interface MovesOptions {
  readonly rewrite: Rewriter;
  /** Of the subscription; undefined: of a pattern. */
  readonly topic: string | undefined;
  /** Nothing is to be handled alone. */
  readonly plain: boolean;
  readonly isCurrent: (epoch: Epoch) => boolean;
}

export function createMoves({ rewrite, topic, plain, isCurrent }: MovesOptions): Moves {
  /** The broker would drop it when it comes back once more: from here on a copy is counted. */
  async function renew(from: Epoch, tag: number, message: Delivery["message"], attempts: number): Promise<void> {
    const written = await rewrite.renew(from.queue, message, attempts, () => isCurrent(from));
    from.moving.delete(tag);
    if (written && isCurrent(from)) from.acks.finish(tag);
    from.intake.settled();
  }

  async function retry(now: Epoch, raw: ConsumeMessage, settlement: Extract<Settlement, { kind: "retry" }>): Promise<SettleOutcome> {
    const tag = raw.fields.deliveryTag;
    const written = await rewrite.retry(now.queue, settlement);
    if (!isCurrent(now)) return written ? "unknown" : "lost";
    if (written) {
      now.moving.delete(tag);
      now.acks.finish(tag);
      now.intake.settled();
      return "done";
    }
    // The copy may be there or not: the message comes again by itself, a little later.
    setTimeout(() => {
      now.moving.delete(tag);
      if (isCurrent(now)) now.acks.giveBack(tag);
      now.intake.settled();
    }, rewrite.holdMs(settlement.delayMs)).unref();
    return "unknown";
  }

  /** A quorum queue counts what is given back: one that is to be handled alone would be taken for a crash. */
  function putBack(now: Epoch, raw: ConsumeMessage): SettleOutcome | Promise<SettleOutcome> {
    if (!plain && isMarked(raw)) return writeAgain(now, raw);
    now.again.delete(raw.fields.deliveryTag);
    return now.acks.giveBack(raw.fields.deliveryTag) ? "done" : "lost";
  }

  async function writeAgain(now: Epoch, raw: ConsumeMessage): Promise<SettleOutcome> {
    const tag = raw.fields.deliveryTag;
    now.moving.add(tag);
    const written = await rewrite.again(now.queue, toMessage(raw, topic), attemptsBefore(raw) + returnsOf(raw), true);
    now.moving.delete(tag);
    if (!isCurrent(now)) return "unknown";
    if (written) now.acks.finish(tag);
    else now.acks.giveBack(tag);
    now.intake.settled();
    return written ? "done" : "unknown";
  }

  return { renew, retry, putBack, writeAgain };
}
