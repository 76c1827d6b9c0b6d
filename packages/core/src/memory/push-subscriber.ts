import { assertOptions, type ObjectSpec } from "../config.ts";
import { createDeque } from "../deque.ts";
import { WaybillError } from "../errors.ts";
import type { Delivery, Message, Settlement, SettleOutcome, SubscribeRequest } from "../transport.ts";
import { weigh } from "./body.ts";
import { createGaps } from "./gap.ts";
import { bufferSpec, overflowSpec, type MemorySubscribeNative, type Settings } from "./options.ts";
import { doneAll } from "./outcomes.ts";
import type { Attachment, Port } from "./shape.ts";

/** One that is there, with a buffer of its own: when that is full, the overflow policy says what goes, and a gap tells how much. */
export interface Subscriber extends Attachment {
  readonly topic: string | undefined;
  readonly pattern: string | undefined;
  readonly group: string | undefined;
  hasRoom(): boolean;
  offer(message: Message): void;
  wake(): void;
}

export interface Place {
  enter(): void;
  leave(): void;
  end(): void;
}

/** What is in hand: a group's member says by an acknowledgement that it is done with one, and that is all that it does. */
interface Handle {
  readonly message: Message;
  readonly bytes: number;
  open: boolean;
}

const nativeSpec: ObjectSpec = { buffer: bufferSpec, overflow: overflowSpec };

export function createSubscriber(
  settings: Settings,
  request: SubscribeRequest,
  port: Port,
  address: string | undefined,
  place: Place,
): Subscriber {
  const { clock } = settings;
  if (request.native !== undefined) assertOptions(request.native, nativeSpec, "native");
  const { buffer: limit = settings.buffer, overflow = settings.overflow } = (request.native ?? {}) as MemorySubscribeNative;
  const counted = request.group !== undefined;
  const gap = createGaps(request);
  const buffer = createDeque<Message>();
  let inHand = 0;
  let inHandBytes = 0;

  function offer(message: Message): void {
    if (buffer.size >= limit) {
      gap(1, `the buffer is full: ${overflow}`);
      if (overflow === "drop-newest") return;
      buffer.shift();
    }
    buffer.push(message);
  }

  function take(): Delivery[] {
    const { credit } = port;
    const deliveries: Delivery[] = [];
    const now = clock.now();
    // A reader gives nothing back: for it the credit holds for each fetch by itself.
    let bytes = counted ? inHandBytes : 0;
    const room = credit.messages - (counted ? inHand : 0);
    while (deliveries.length < room) {
      const message = buffer.peek();
      if (message === undefined) break;
      const weight = weigh(message.body);
      if (bytes + weight > credit.bytes && bytes > 0) break;
      buffer.shift();
      if (message.expiresAt !== undefined && message.expiresAt <= now) {
        if (counted) gap(1, "expired");
        continue;
      }
      bytes += weight;
      deliveries.push(toDelivery(message, weight));
    }
    if (counted) {
      inHand += deliveries.length;
      inHandBytes = bytes;
    }
    return deliveries;
  }

  function toDelivery(message: Message, bytes: number): Delivery {
    const handle: Handle = { message, bytes, open: counted };
    return {
      message,
      attempt: undefined,
      position: undefined,
      part: "",
      generation: 0,
      leaseMs: undefined,
      note: undefined,
      takenOver: false,
      handle,
    };
  }

  function settle(settlements: readonly Settlement[]): readonly SettleOutcome[] {
    for (const settlement of settlements) refuse(settlement);
    const back: Message[] = [];
    for (const { kind, delivery } of settlements) {
      const handle = delivery.handle as Handle | undefined;
      if (handle?.open !== true || kind === "extend") continue;
      handle.open = false;
      inHand -= 1;
      inHandBytes -= handle.bytes;
      if (kind === "release") back.push(handle.message);
    }
    if (back.length > 0) buffer.pushFront(back);
    port.wake();
    return doneAll(settlements.length);
  }

  return {
    address,
    topic: request.topic,
    pattern: request.pattern,
    group: request.group,
    hasRoom: () => buffer.size < limit,
    offer,
    wake: () => port.wake(),
    take,
    settle,
    drop(died) {
      place.leave();
      if (died) place.end();
    },
    resume: () => place.enter(),
    leave() {
      place.leave();
      place.end();
      buffer.clear();
    },
  };
}

function refuse(settlement: Settlement): void {
  const { kind } = settlement;
  if (kind === "retry" || kind === "dead-letter") throw new WaybillError("CAPABILITY", `${kind}: a push keeps nothing`);
  if (kind === "extend" && settlement.note !== undefined) throw new WaybillError("CAPABILITY", "note: a push keeps nothing");
}
