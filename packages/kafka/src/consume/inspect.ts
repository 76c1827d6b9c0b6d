import type { Inspection, Known } from "@waybill/core";
import type { KafkaSession } from "../session/session.ts";
import { nameOf } from "./assignor.ts";
import { readCommitNote } from "./commit-note.ts";
import type { GroupPlaces } from "./group-places.ts";
import { earliest, latest, listOffsets } from "./offsets-call.ts";
import { readOneTime } from "./read-one.ts";

const nothing: Inspection = { depth: 0, inFlight: 0, lagMessages: 0, oldestAgeMs: 0, consumers: [] };

/** `logs`: the topic, and what is put back for the group. */
export async function inspectGroup(
  session: KafkaSession,
  places: GroupPlaces,
  group: string,
  logs: readonly string[],
): Promise<Inspection> {
  const parts = await places.partsOf(logs);
  if (parts.length === 0) return nothing;
  const [committed, first, end, consumers] = await Promise.all([
    places.committed(group, parts),
    listOffsets(session, parts, earliest),
    listOffsets(session, parts, latest),
    consumersOf(places, group, new Set(logs)),
  ]);
  let depth = 0;
  const behind: { readonly part: (typeof parts)[number]; readonly offset: number }[] = [];
  for (const part of parts) {
    const place = committed.get(nameOf(part));
    if (place === undefined) continue;
    const from = Math.max(place.offset, first.get(nameOf(part)) ?? 0);
    const finished = readCommitNote(place.offset, place.metadata)?.finished ?? [];
    const left = Math.max(0, (end.get(nameOf(part)) ?? from) - from) - finished.reduce((sum, range) => sum + range.to - range.from, 0);
    if (left <= 0) continue;
    depth += left;
    behind.push({ part, offset: from });
  }
  const times = await Promise.all(behind.map(({ part, offset }) => readOneTime(session, part, offset)));
  const oldest = times.reduce<number>((least, time) => Math.min(least, time ?? least), Number.POSITIVE_INFINITY);
  return {
    depth,
    inFlight: { unknown: "Kafka does not know what its consumers have in hand" },
    lagMessages: depth,
    oldestAgeMs: oldest === Number.POSITIVE_INFINITY ? 0 : Math.max(0, session.clock.now() - oldest),
    consumers,
  };
}

async function consumersOf(places: GroupPlaces, group: string, logs: ReadonlySet<string>): Promise<Inspection["consumers"]> {
  const inFlight: Known = { unknown: "Kafka does not know it" };
  try {
    const { members } = await places.view(group);
    return members
      .filter(({ parts }) => parts.some(({ topic }) => logs.has(topic)))
      .map(({ memberId, clientId }) => ({ id: `${clientId} ${memberId}`, inFlight }));
  } catch {
    return { unknown: "the group cannot be described now, or not by this user" };
  }
}
