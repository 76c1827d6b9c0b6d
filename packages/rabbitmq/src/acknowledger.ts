import type { Channel, ConsumeMessage } from "amqplib";
import { createAckWindow } from "./acks.ts";

/** Tells the broker what is settled on one channel, in few frames. */
export interface Acknowledger {
  delivered(tag: number): void;
  isOpen(tag: number): boolean;
  /** To be acknowledged with what else is finished in this turn. False: it was settled before. */
  finish(tag: number): boolean;
  /** Back into the queue, now. False: it was settled before. */
  giveBack(tag: number): boolean;
  /** Whatever is finished, now. */
  flush(): void;
  close(): void;
}

/** How long a finished one may wait for an unfinished one before it, so that one acknowledgement tells of both. */
const holdBackMs = 5;

/** `prefetch`: behind an unfinished one at most an eighth of it may wait. */
export function createAcknowledger(channel: Channel, prefetch: () => number): Acknowledger {
  const window = createAckWindow();
  let timer: NodeJS.Timeout | undefined;
  let scheduled = false;
  let closed = false;

  /** A channel that is closing throws: what the broker does not hear comes again. */
  function send(write: () => void): void {
    if (closed) return;
    try {
      write();
    } catch {
      closed = true;
    }
  }

  function flush(all: boolean): void {
    scheduled = false;
    const { upTo } = window.take(false);
    if (upTo !== undefined) send(() => channel.ack(tagged(upTo), true));
    if (all || window.waiting > prefetch() >> 3) for (const tag of window.take(true).singles) send(() => channel.ack(tagged(tag), false));
    if (window.waiting === 0 || timer !== undefined || closed) return;
    timer = setTimeout(() => {
      timer = undefined;
      flush(true);
    }, holdBackMs);
  }

  return {
    delivered: window.delivered,
    isOpen: window.isOpen,
    finish(tag) {
      const finished = window.finish(tag);
      if (finished && !scheduled) {
        scheduled = true;
        queueMicrotask(() => flush(false));
      }
      return finished;
    },
    giveBack(tag) {
      const given = window.close(tag);
      if (given) send(() => channel.nack(tagged(tag), false, true));
      return given;
    },
    flush: () => flush(true),
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

function tagged(deliveryTag: number): ConsumeMessage {
  return { fields: { deliveryTag } } as ConsumeMessage;
}
