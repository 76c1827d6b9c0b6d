import { WaybillError } from "../errors.ts";
import type { Delivery, Message } from "../transport.ts";
import { addressPrefix, readAddress, writeAddress } from "./routes.ts";

/**
 * Reply addresses. An inbox has one of its own on each transport, and one name for all of them; a request that is published
 * is given the one of its transport. A request that is delivered has the index of its transport put before its address, so
 * that the reply finds its way back.
 */
export interface Addresses {
  /** Of an inbox: one entry a transport, undefined where that one has none. */
  add(name: string, own: readonly (string | undefined)[]): void;
  drop(name: string): void;
  /** As this transport has to be given it. Throws `CAPABILITY`, definite. */
  outward(message: Message, index: number): Message;
  /** As the core gets it from this transport. */
  inward(delivery: Delivery, index: number): Delivery;
}

export function createAddresses(nameOf: (index: number) => string): Addresses {
  const inboxes = new Map<string, readonly (string | undefined)[]>();

  function replyToOf(replyTo: string, index: number): string | undefined {
    const inbox = inboxes.get(replyTo);
    if (inbox !== undefined) {
      const own = inbox[index];
      if (own === undefined) throw new WaybillError("CAPABILITY", `${nameOf(index)} has no inbox for replies`);
      return own;
    }
    const known = readAddress(replyTo);
    if (known === undefined) return replyTo;
    if (known.index === index) return known.address;
    throw new WaybillError("CAPABILITY", `a reply address of ${nameOf(known.index)} means nothing to ${nameOf(index)}`);
  }

  return {
    add: (name, own) => void inboxes.set(name, own),
    drop: (name) => void inboxes.delete(name),
    outward(message, index) {
      const topic = readAddress(message.topic)?.address ?? message.topic;
      const replyTo = message.replyTo === undefined ? undefined : replyToOf(message.replyTo, index);
      return topic === message.topic && replyTo === message.replyTo ? message : { ...message, topic, replyTo };
    },
    inward(delivery, index) {
      const { message } = delivery;
      if (message.replyTo === undefined) return delivery;
      return { ...delivery, message: { ...message, replyTo: writeAddress(index, message.replyTo) }, handle: new Passed(delivery) };
    },
  };
}

/** It needs no other address than it has. */
export function isPlain({ replyTo, topic }: Message): boolean {
  return replyTo === undefined && !topic.startsWith(addressPrefix);
}

/** The handle of a delivery that was changed on its way: the adapter gets its own back. */
export class Passed {
  readonly original: Delivery;
  constructor(original: Delivery) {
    this.original = original;
  }
}

export function originalOf(delivery: Delivery): Delivery {
  return delivery.handle instanceof Passed ? delivery.handle.original : delivery;
}
