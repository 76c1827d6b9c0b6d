import type { Message } from "../transport.ts";

/** An append-only run of messages: a partition of a topic, or the retry log of a group. Offsets are dense and never used again. */
export interface LogPart {
  /** Unit of revocation: unique within the broker. */
  readonly name: string;
  /** In positions: unique within the topic. */
  readonly label: string;
  /** The oldest that is kept. */
  readonly first: number;
  /** The next that will be written. */
  readonly end: number;
  /** `order`: grows with every append to any part of the broker. */
  append(message: Message, order: number): void;
  at(offset: number): Message | undefined;
  orderOf(offset: number): number;
  /** The first offset of this order or a later one. */
  offsetFrom(order: number): number;
  /** The first offset whose message has this time or a later one. */
  offsetSince(time: number): number;
}

/** `retain`: how many messages are kept. */
export function createLogPart(name: string, label: string, retain: number): LogPart {
  let messages: Message[] = [];
  let orders: number[] = [];
  let base = 0;

  const end = (): number => base + messages.length;
  const first = (): number => Math.max(base, end() - retain);

  /** Cuts only now and then: to move all for each one that goes would cost the square. */
  function trim(): void {
    if (messages.length < retain * 2) return;
    const drop = first() - base;
    messages = messages.slice(drop);
    orders = orders.slice(drop);
    base += drop;
  }

  function search(fits: (offset: number) => boolean): number {
    for (let offset = first(); offset < end(); offset += 1) if (fits(offset)) return offset;
    return end();
  }

  return {
    name,
    label,
    get first() {
      return first();
    },
    get end() {
      return end();
    },
    append(message, order) {
      messages.push(message);
      orders.push(order);
      trim();
    },
    at: (offset) => (offset < first() ? undefined : messages[offset - base]),
    orderOf: (offset) => orders[offset - base] ?? 0,
    offsetFrom: (order) => search((offset) => (orders[offset - base] ?? 0) >= order),
    offsetSince: (time) => search((offset) => (messages[offset - base]?.time ?? 0) >= time),
  };
}
