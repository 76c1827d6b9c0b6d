import type { Clock } from "../clock.ts";
import type { Delivery, SubscribeRequest } from "../transport.ts";
import { weigh } from "./body.ts";
import { createGaps } from "./gap.ts";
import { isExpired, tooOld } from "./log-attach.ts";
import type { LogPart } from "./log-part.ts";
import { positionOf, type LogTopic } from "./log-topic.ts";
import { doneAll } from "./outcomes.ts";
import type { Attachment, Port } from "./shape.ts";

/** Reads parts from a place on, and leaves nothing behind. */
export interface LogReader extends Attachment {
  add(part: LogPart, offset: number): void;
}

export function createLogReader(
  clock: Clock,
  request: SubscribeRequest,
  port: Port,
  address: string | undefined,
  stop: () => void,
): LogReader {
  const places: { readonly part: LogPart; next: number }[] = [];
  const gap = createGaps(request);
  let turn = 0;
  let bytes = 0;

  /** Nothing of it is ever settled: the credit holds for each fetch by itself. */
  function take(): Delivery[] {
    bytes = 0;
    const deliveries: Delivery[] = [];
    turn += 1;
    for (let step = 0; step < places.length; step += 1) {
      const place = places[(turn + step) % places.length];
      if (place !== undefined) read(place, deliveries);
    }
    return deliveries;
  }

  function read(place: { readonly part: LogPart; next: number }, deliveries: Delivery[]): void {
    const { part } = place;
    if (place.next < part.first) {
      gap(part.first - place.next, tooOld);
      place.next = part.first;
    }
    const now = clock.now();
    while (place.next < part.end && deliveries.length < port.credit.messages && bytes < port.credit.bytes) {
      const offset = place.next;
      place.next += 1;
      const message = part.at(offset);
      if (message === undefined || isExpired(message, now)) continue;
      bytes += weigh(message.body);
      deliveries.push({
        message,
        attempt: undefined,
        position: positionOf(part, offset),
        part: part.name,
        generation: 0,
        leaseMs: undefined,
        note: undefined,
        takenOver: false,
        handle: undefined,
      });
    }
  }

  return {
    address,
    take,
    add(part, offset) {
      places.push({ part, next: offset });
      port.wake();
    },
    settle: (settlements) => doneAll(settlements.length),
    // It knows where it was.
    drop: (died) => (died ? stop() : undefined),
    resume: () => port.wake(),
    leave: stop,
  };
}

/** All partitions of the topic, from where the request says. */
export function readTopic(reader: LogReader, topic: LogTopic, request: SubscribeRequest): void {
  for (const part of topic.partitions) reader.add(part, topic.offsetOf(part, request.from));
}
