import { isWaybillError, WaybillError, type Topology } from "@waybill/core";
import { createGroupPlaces } from "../consume/group-places.ts";
import type { KafkaSession } from "../session/session.ts";
import { isOwnTopic } from "../wire/names.ts";

interface Missing {
  readonly topics: readonly string[];
  readonly groups: readonly { readonly topic: string; readonly group: string }[];
}

/** Answers what is missing: topics, and groups that have no place in one partition or more. */
export async function check(session: KafkaSession, topology: Topology): Promise<readonly string[]> {
  return namesOf(await missing(session, topology));
}

/** Makes what is missing; a new group begins at the end. Answers what it made. */
export async function declare(session: KafkaSession, topology: Topology): Promise<readonly string[]> {
  const absent = await missing(session, topology);
  const wanted = [...new Set([...absent.topics, ...absent.groups.map(({ topic }) => topic)])];
  if (wanted.length > 0) {
    const found = await session.metadata(wanted, { create: true });
    const refused = wanted.find((topic) => !found.has(topic));
    if (refused !== undefined)
      throw new WaybillError("TOPOLOGY", `there is no topic "${refused}", and createTopics is false`, { remedy: "create it, or allow it" });
  }
  const places = createGroupPlaces(session);
  for (const { topic, group } of absent.groups) {
    try {
      await places.move(topic, group, isOwnTopic(topic, group) ? "earliest" : "latest");
    } catch (error) {
      // It has members by now: they give it its place themselves.
      if (!isWaybillError(error, "BUSY")) throw error;
    }
  }
  return namesOf(absent);
}

async function missing(session: KafkaSession, { topics, groups }: Topology): Promise<Missing> {
  const names = [...new Set([...topics, ...groups.map(({ topic }) => topic)])];
  const found = names.length === 0 ? new Map<string, never>() : await session.metadata(names, { maxAgeMs: 0 });
  const places = createGroupPlaces(session);
  const absent: Missing["groups"][number][] = [];
  for (const each of groups) {
    if (!found.has(each.topic) || !(await places.exists(each.topic, each.group))) absent.push(each);
  }
  return { topics: topics.filter((topic) => !found.has(topic)), groups: absent };
}

function namesOf({ topics, groups }: Missing): readonly string[] {
  return [...topics.map((topic) => `topic ${topic}`), ...groups.map(({ topic, group }) => `group ${group} of topic ${topic}`)];
}
