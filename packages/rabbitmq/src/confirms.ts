import { published, WaybillError, type Message, type PublishOutcome } from "@waybill/core";

/** What is written to a confirm channel and not answered: delivery tags count the publishes of the channel from 1. */
export interface Confirms {
  /** The next publish is this message of the batch. `returnKey`: its routing key, if it may come back. */
  wrote(batch: Batch, index: number, returnKey: string | undefined): void;
  /** Takes out the first of this id and key that may come back: its confirm, which follows, means nothing. */
  returned(id: string, routingKey: string): Place | undefined;
  acked(tag: number, multiple: boolean): void;
  nacked(tag: number, multiple: boolean): void;
  /** The channel is gone: `outcome` says what that means for each that is left. */
  lose(outcome: (message: Message) => PublishOutcome): void;
  readonly inFlight: number;
}

export interface Place {
  readonly batch: Batch;
  readonly index: number;
}

/** One call of `publish`. */
export interface Batch {
  readonly messages: readonly Message[];
  /** Undefined: not known yet. */
  readonly outcomes: (PublishOutcome | undefined)[];
  left: number;
  readonly done: (outcomes: readonly PublishOutcome[]) => void;
}

const refused: PublishOutcome = Object.freeze({
  ok: false,
  error: new WaybillError("TRANSPORT", "a queue refused the message: another one may have it", {
    remedy: "see the limits of the queues that it goes to (x-max-length, reject-publish) and the broker's log",
  }),
});
/** Answered ones at the front that are kept before the arrays are cut. */
const slack = 1_024;

export function createBatch(messages: readonly Message[], done: Batch["done"]): Batch {
  return { messages, outcomes: Array.from({ length: messages.length }), left: messages.length, done };
}

/** The first outcome holds. */
export function settle(batch: Batch, index: number, outcome: PublishOutcome): void {
  if (batch.outcomes[index] !== undefined || batch.left === 0) return;
  batch.outcomes[index] = outcome;
  batch.left -= 1;
  if (batch.left === 0) batch.done(batch.outcomes as readonly PublishOutcome[]);
}

/** All that are not known yet. */
export function settleRest(batch: Batch, outcome: (index: number) => PublishOutcome): void {
  for (let index = 0; index < batch.messages.length; index += 1)
    if (batch.outcomes[index] === undefined) settle(batch, index, outcome(index));
}

export function createConfirms(): Confirms {
  // Side by side rather than an object a message.
  let batches: (Batch | undefined)[] = [];
  let indexes: number[] = [];
  let returnKeys: (string | undefined)[] = [];
  /** Tag of the first in the arrays. */
  let base = 1;
  let head = 0;
  let inFlight = 0;

  function answer(at: number, outcome: PublishOutcome): void {
    const batch = batches[at];
    if (batch === undefined) return;
    batches[at] = undefined;
    inFlight -= 1;
    settle(batch, indexes[at] as number, outcome);
  }

  function answered(tag: number, multiple: boolean, outcome: PublishOutcome): void {
    const last = tag - base;
    if (multiple) for (let at = head; at <= last; at += 1) answer(at, outcome);
    else answer(last, outcome);
    while (head < batches.length && batches[head] === undefined) head += 1;
    if (head < slack || head < batches.length / 2) return;
    batches = batches.slice(head);
    indexes = indexes.slice(head);
    returnKeys = returnKeys.slice(head);
    base += head;
    head = 0;
  }

  return {
    wrote(batch, index, returnKey) {
      batches.push(batch);
      indexes.push(index);
      returnKeys.push(returnKey);
      inFlight += 1;
    },
    returned(id, routingKey) {
      for (let at = head; at < batches.length; at += 1) {
        const batch = batches[at];
        const index = indexes[at] as number;
        if (batch === undefined || returnKeys[at] !== routingKey || batch.messages[index]?.id !== id) continue;
        batches[at] = undefined;
        inFlight -= 1;
        return { batch, index };
      }
      return undefined;
    },
    acked: (tag, multiple) => answered(tag, multiple, published),
    nacked: (tag, multiple) => answered(tag, multiple, refused),
    lose(outcome) {
      for (let at = head; at < batches.length; at += 1) {
        const batch = batches[at];
        if (batch !== undefined) answer(at, outcome(batch.messages[indexes[at] as number] as Message));
      }
    },
    get inFlight() {
      return inFlight;
    },
  };
}
