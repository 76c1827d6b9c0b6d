import { WaybillError, type StartPosition } from "@waybill/core";
import type { KafkaSession } from "../session/session.ts";
import { nameOf, type TopicPartition } from "./assignor.ts";
import { readOneTime } from "./read-one.ts";
import { earliest, latest, listOffsets } from "./offsets-call.ts";
import { placeOf } from "./position.ts";

/** Where `from` is in each of these partitions of one topic. Throws `CONFIG` for a position that is none of it. */
export async function startOffsets(
  session: KafkaSession,
  parts: readonly TopicPartition[],
  from: StartPosition,
): Promise<ReadonlyMap<string, number>> {
  if (from === "latest") return listOffsets(session, parts, latest);
  if (from === "earliest") return listOffsets(session, parts, earliest);
  if ("time" in from) return listOffsets(session, parts, Math.max(0, Math.ceil(from.time)));
  const place = placeOf(from.position);
  const there = parts.find(({ partition }) => partition === place.partition);
  if (place.prefix !== "" || there === undefined) throw new WaybillError("CONFIG", "from: not a position of this topic");
  const offsets = new Map<string, number>();
  const [first, end] = await Promise.all([listOffsets(session, [there], earliest), listOffsets(session, [there], latest)]);
  const offset = Math.min(Math.max(place.offset, first.get(nameOf(there)) ?? 0), end.get(nameOf(there)) ?? place.offset);
  offsets.set(nameOf(there), offset);
  const others = parts.filter((part) => part !== there);
  if (others.length === 0) return offsets;
  // A position is in one partition. In the others nothing is missed that came after it.
  const time = await readOneTime(session, there, offset);
  for (const [name, found] of await listOffsets(session, others, time ?? latest)) offsets.set(name, found);
  return offsets;
}
