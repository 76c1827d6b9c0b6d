import type { StartPosition } from "@waybill/core";
import type { Connection } from "./connection.ts";
import { matcher } from "./pattern.ts";
import { streamSeed } from "./record.ts";
import { startOffset } from "./start.ts";

export interface Stream {
  readonly id: number;
  readonly topic: string;
  readonly topicId: number;
  /** 0: for every group. */
  readonly groupId: number;
  readonly group: string | undefined;
  readonly priority: number;
  readonly seed: number;
}

export interface Group {
  readonly id: number;
  readonly topicId: number;
  readonly topic: string;
  readonly name: string;
}

/**
 * Names and their row ids, as one connection knows them. Ids are never used again, so what it knows stays true;
 * only a rollback may take back what it learnt in that transaction: then `forget`.
 */
export interface Catalog {
  topic(name: string): number | undefined;
  stream(id: number): Stream;
  group(topic: string, name: string): Group | undefined;
  groupById(id: number): Group | undefined;
  /** All of them make what is missing: in a write transaction. */
  ensureTopic(name: string): number;
  ensureGroup(topic: string, name: string, from: StartPosition): Group;
  ensureStream(topic: string, group: string | undefined, priority: number): Stream;
  /** A group whose pattern covers later topics too. In a write transaction. */
  ensurePattern(pattern: string, name: string, from: StartPosition): void;
  /** Groups of that name on the topics of the pattern. */
  groupsOf(pattern: string, name: string): Group[];
  forget(): void;
}

export function openCatalog(connection: Connection): Catalog {
  const topics = new Map<string, number>();
  const streams = new Map<number, Stream>();
  const streamIds = new Map<string, Stream>();
  const groups = new Map<string, Group>();
  const groupsById = new Map<number, Group>();

  function topic(name: string): number | undefined {
    const known = topics.get(name);
    if (known !== undefined) return known;
    const row = connection.one("select id from waybill_topics where name = ?", name);
    if (row === undefined) return undefined;
    topics.set(name, Number(row[0]));
    return Number(row[0]);
  }

  function remember(group: Group): Group {
    groups.set(`${group.topic}\0${group.name}`, group);
    groupsById.set(group.id, group);
    return group;
  }

  function group(topicName: string, name: string): Group | undefined {
    const known = groups.get(`${topicName}\0${name}`);
    if (known !== undefined) return known;
    const topicId = topic(topicName);
    if (topicId === undefined) return undefined;
    const row = connection.one("select id from waybill_groups where topic = ? and name = ?", topicId, name);
    return row === undefined ? undefined : remember({ id: Number(row[0]), topicId, topic: topicName, name });
  }

  function groupById(id: number): Group | undefined {
    const known = groupsById.get(id);
    if (known !== undefined) return known;
    const row = connection.one(
      "select g.topic, t.name, g.name from waybill_groups g join waybill_topics t on t.id = g.topic where g.id = ?",
      id,
    );
    return row === undefined ? undefined : remember({ id, topicId: Number(row[0]), topic: String(row[1]), name: String(row[2]) });
  }

  function ensureTopic(name: string): number {
    const known = topic(name);
    if (known !== undefined) return known;
    connection.run("insert into waybill_topics (name) values (?)", name);
    const id = topic(name)!;
    for (const row of connection.all("select pattern, name from waybill_patterns")) {
      if (matcher(String(row[0]))(name)) ensureGroup(name, String(row[1]), "earliest");
    }
    return id;
  }

  function ensureGroup(topicName: string, name: string, from: StartPosition): Group {
    const known = group(topicName, name);
    if (known !== undefined) return known;
    const topicId = ensureTopic(topicName);
    const byPattern = group(topicName, name);
    if (byPattern !== undefined) return byPattern;
    connection.run("insert into waybill_groups (topic, name) values (?, ?)", topicId, name);
    const made = group(topicName, name)!;
    for (const row of connection.all("select id, next from waybill_streams where topic = ? and grp = 0", topicId)) {
      connection.run(
        "insert into waybill_cursors (grp, stream, next) values (?, ?, ?)",
        made.id,
        row[0]!,
        startOffset(connection, Number(row[0]), Number(row[1]), from),
      );
    }
    return made;
  }

  function ensureStream(topicName: string, groupName: string | undefined, priority: number): Stream {
    const key = `${topicName}\0${priority}\0${groupName ?? ""}`;
    const known = streamIds.get(key);
    if (known !== undefined) return known;
    const topicId = ensureTopic(topicName);
    const groupId = groupName === undefined ? 0 : ensureGroup(topicName, groupName, "latest").id;
    const find = "select id from waybill_streams where topic = ? and grp = ? and priority = ?";
    let row = connection.one(find, topicId, groupId, priority);
    if (row === undefined) {
      connection.run("insert into waybill_streams (topic, grp, priority, next) values (?, ?, ?, 0)", topicId, groupId, priority);
      row = connection.one(find, topicId, groupId, priority)!;
      // The groups are older than the stream: they see all of it.
      connection.run(
        "insert into waybill_cursors (grp, stream, next) select id, ?, 0 from waybill_groups where topic = ? and (? = 0 or id = ?)",
        row[0]!,
        topicId,
        groupId,
        groupId,
      );
    }
    const made = stream(Number(row[0]));
    streamIds.set(key, made);
    return made;
  }

  function stream(id: number): Stream {
    const known = streams.get(id);
    if (known !== undefined) return known;
    const row = connection.one(
      `select s.topic, t.name, s.grp, g.name, s.priority from waybill_streams s
       join waybill_topics t on t.id = s.topic left join waybill_groups g on g.id = s.grp where s.id = ?`,
      id,
    );
    if (row === undefined) throw new Error(`stream ${id} is gone`);
    const groupName = row[3] === null ? undefined : String(row[3]);
    const made: Stream = {
      id,
      topicId: Number(row[0]),
      topic: String(row[1]),
      groupId: Number(row[2]),
      group: groupName,
      priority: Number(row[4]),
      seed: streamSeed(String(row[1]), groupName ?? "", Number(row[4])),
    };
    streams.set(id, made);
    return made;
  }

  function groupsOf(pattern: string, name: string): Group[] {
    const matches = matcher(pattern);
    const found: Group[] = [];
    for (const row of connection.all(
      "select g.id, g.topic, t.name from waybill_groups g join waybill_topics t on t.id = g.topic where g.name = ? order by g.id",
      name,
    )) {
      if (!matches(String(row[2]))) continue;
      found.push(remember({ id: Number(row[0]), topicId: Number(row[1]), topic: String(row[2]), name }));
    }
    return found;
  }

  return {
    topic,
    stream,
    group,
    groupById,
    ensureTopic,
    ensureGroup,
    ensureStream,
    ensurePattern(pattern, name, from) {
      const matches = matcher(pattern);
      for (const row of connection.all("select name from waybill_topics")) {
        if (matches(String(row[0]))) ensureGroup(String(row[0]), name, from);
      }
      connection.run("insert or ignore into waybill_patterns (pattern, name) values (?, ?)", pattern, name);
    },
    groupsOf,
    forget() {
      topics.clear();
      streams.clear();
      streamIds.clear();
      groups.clear();
      groupsById.clear();
    },
  };
}
