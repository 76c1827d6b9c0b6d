import { WaybillError } from "../errors.ts";
import type { Delivery, Message } from "../transport.ts";

/**
 * Reply addresses, where a reply has to find the transport that its request came by. An inbox has an address of its own on each
 * transport, and its address here holds them all; a request that is published is given the one of its transport. A request that
 * is delivered gets the index of its transport before its address, unless the address leads there by itself.
 */
export interface Addresses {
  /** As this transport has to be given it. Throws `CAPABILITY`, definite. */
  outward(message: Message, index: number): Message;
  /** As the core gets it from this transport. */
  inward(delivery: Delivery, index: number): Delivery;
}

/** `hybrid:<index>=<address>&…`: no topic has a colon. Within processes alone, never on a wire. */
const prefix = "hybrid:";

/** Entry `i`: the address on transport `i`, undefined where it has none. */
export type OwnAddresses = readonly (string | undefined)[];

export function writeAddress(own: OwnAddresses): string {
  return prefix + own.flatMap((address, index) => (address === undefined ? [] : [`${index}=${encodeURIComponent(address)}`])).join("&");
}

/** Undefined where it is no address of a hybrid. */
export function readAddress(text: string): OwnAddresses | undefined {
  if (!text.startsWith(prefix)) return undefined;
  const own: (string | undefined)[] = [];
  for (const part of text.slice(prefix.length).split("&")) {
    const [index = "", address = ""] = part.split("=");
    own[Number(index)] = decodeURIComponent(address);
  }
  return own;
}

/** It needs no other address than it has. */
export function isPlain({ replyTo, topic }: Message): boolean {
  return replyTo === undefined && !topic.startsWith(prefix);
}

export function createAddresses(nameOf: (index: number) => string, leadsTo: (topic: string) => number): Addresses {
  function on(index: number, address: string): string {
    const own = readAddress(address);
    if (own === undefined) return address;
    const found = own[index];
    if (found !== undefined) return found;
    throw new WaybillError("CAPABILITY", `the reply address means nothing to ${nameOf(index)}`);
  }

  return {
    outward(message, index) {
      const topic = on(index, message.topic);
      const replyTo = message.replyTo === undefined ? undefined : on(index, message.replyTo);
      return topic === message.topic && replyTo === message.replyTo ? message : { ...message, topic, replyTo };
    },
    inward(delivery, index) {
      const { message } = delivery;
      if (message.replyTo === undefined || leadsTo(message.replyTo) === index) return delivery;
      const own: (string | undefined)[] = [];
      own[index] = message.replyTo;
      return { ...delivery, message: { ...message, replyTo: writeAddress(own) }, handle: new Passed(delivery, index) };
    },
  };
}

/** The handle of a delivery that was changed on its way from this transport: the adapter gets its own back. */
export class Passed {
  readonly original: Delivery;
  readonly index: number;
  constructor(original: Delivery, index: number) {
    this.original = original;
    this.index = index;
  }
}

export function originalOf(delivery: Delivery): Delivery {
  return delivery.handle instanceof Passed ? delivery.handle.original : delivery;
}
