import { WaybillError } from "../errors.ts";
import type { Message, Position, StartPosition } from "../transport.ts";
import { createLogGroup, type LogGroup } from "./log-group.ts";
import { createLogPart, type LogPart } from "./log-part.ts";
import type { Settings } from "./options.ts";

export interface LogTopic {
  readonly name: string;
  readonly partitions: readonly LogPart[];
  readonly groups: ReadonlyMap<string, LogGroup>;
  /** `from`: where it begins if it is new. */
  ensureGroup(group: string, from?: StartPosition): LogGroup;
  /** By `native.partition`, else by the key, else in turn. */
  partitionFor(message: Message): LogPart;
  /** Where `from` is in this partition. @throws `CONFIG` for a position that is none. */
  offsetOf(part: LogPart, from: StartPosition): number;
  /** The part and offset of a position, the group's own retry log included. */
  place(position: Position, group?: LogGroup): { readonly part: LogPart; readonly offset: number } | undefined;
}

/** In positions, of the log that a group has for itself. */
export const retryLabel = "retry";

export function positionOf(part: LogPart, offset: number): string {
  return `${part.label}:${offset}`;
}

export function createLogTopic(name: string, settings: Settings, nextGeneration: () => number): LogTopic {
  const { clock, retain, revocationMs } = settings;
  const groups = new Map<string, LogGroup>();
  const partitions = Array.from({ length: settings.partitions }, (_, index) => createLogPart(`${name}/${index}`, String(index), retain));
  let turn = 0;

  function offsetOf(part: LogPart, from: StartPosition): number {
    if (from === "latest") return part.end;
    if (from === "earliest") return part.first;
    if ("time" in from) return part.offsetSince(from.time);
    const place = topic.place(from.position);
    if (place === undefined) throw new WaybillError("CONFIG", `from: no position of topic "${name}"`);
    if (place.part === part) return Math.min(Math.max(place.offset, part.first), part.end);
    // A position is in one partition. In the others nothing is missed that came after it.
    return place.offset < place.part.end ? part.offsetFrom(place.part.orderOf(place.offset)) : part.end;
  }

  const topic: LogTopic = {
    name,
    partitions,
    groups,
    ensureGroup(group, from = "latest") {
      let made = groups.get(group);
      if (made === undefined) {
        made = createLogGroup({
          name: group,
          parts: partitions,
          retries: createLogPart(`${name}/${group}/retry`, retryLabel, retain),
          start: (part) => offsetOf(part, from),
          clock,
          revocationMs,
          nextGeneration,
        });
        groups.set(group, made);
      }
      return made;
    },
    partitionFor({ key, native }) {
      const chosen = (native as { partition?: number } | undefined)?.partition;
      turn += 1;
      const index = chosen ?? (key === undefined ? turn : hash(key));
      return partitions[index % partitions.length] as LogPart;
    },
    offsetOf,
    place(position, group) {
      const [, label, offset] = /^(\d{1,4}|retry):(\d{1,15})$/.exec(String(position)) ?? [];
      const part = label === retryLabel ? group?.retries : partitions[Number(label)];
      return part === undefined ? undefined : { part, offset: Number(offset) };
    },
  };
  return topic;
}

/** FNV-1a, 32 bit. */
function hash(key: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < key.length; at += 1) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}
