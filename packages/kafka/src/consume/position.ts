import { WaybillError, type Position } from "@waybill/core";

/** A place in a topic: partition and offset; of the group's retry topic with an `r` before it. */
export interface Place {
  readonly isRetry: boolean;
  readonly partition: number;
  readonly offset: number;
}

export function positionOf(partition: number, offset: number, isRetry: boolean): string {
  return isRetry ? `r${partition}:${offset}` : `${partition}:${offset}`;
}

/** @throws `CONFIG` for what is no position of Kafka. */
export function placeOf(position: Position): Place {
  const found = /^(r?)(\d{1,9}):(\d{1,15})$/.exec(String(position));
  if (found === null) throw new WaybillError("CONFIG", "a position of Kafka is partition:offset");
  return { isRetry: found[1] === "r", partition: Number(found[2]), offset: Number(found[3]) };
}
