import { WaybillError, type Position } from "@waybill/core";

/** A place in a topic: partition and offset. What lies in another log of the group has that log's letter before it (`group-logs.ts`). */
export interface Place {
  readonly prefix: string;
  readonly partition: number;
  readonly offset: number;
}

export function positionOf(prefix: string, partition: number, offset: number): string {
  return `${prefix}${partition}:${offset}`;
}

/** A position that was found by browsing holds where all partitions were: behind the first one, after a blank. */
export function withCursor(position: string, all: readonly string[]): string {
  return `${position} ${all.join(",")}`;
}

const form = /^([ra-e]?)(\d{1,9}):(\d{1,15})(?: ([ra-e\d:,]+))?$/;

/** @throws `CONFIG` for what is no position of Kafka. */
export function placeOf(position: Position): Place {
  const found = form.exec(String(position));
  if (found === null) throw new WaybillError("CONFIG", "a position of Kafka is partition:offset");
  return { prefix: found[1] ?? "", partition: Number(found[2]), offset: Number(found[3]) };
}

/** Where to go on after it, by partition (with its letter); of a plain position only its own is known. */
export function cursorOf(position: Position): ReadonlyMap<string, number> {
  const { prefix, partition, offset } = placeOf(position);
  const cursor = new Map<string, number>();
  for (const each of (form.exec(String(position))?.[4] ?? "").split(",")) {
    const [label, next] = each.split(":");
    if (label !== undefined && next !== undefined) cursor.set(label, Number(next));
  }
  const own = `${prefix}${partition}`;
  if (!cursor.has(own)) cursor.set(own, offset + 1);
  return cursor;
}
