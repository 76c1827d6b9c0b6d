import { compilePattern } from "../pattern.ts";
import type { Topology } from "../transport.ts";

/**
 * The topics of a broker. A pattern is nothing but all topics that match it, those to come included: so a group has one place
 * in each topic, whether its members came by the name or by a pattern.
 */
export interface Topics<Topic extends HasGroups> {
  /** Made if a pattern wants it; undefined: nobody does. */
  find(name: string): Topic | undefined;
  ensure(name: string): Topic;
  /** Without the making. */
  peek(name: string): Topic | undefined;
  /** Makes what is missing, and answers it. A declared topic stays, whoever leaves. */
  declare(topology: Topology): readonly string[];
  missing(topology: Topology): readonly string[];
  /** The group comes into being in every topic of the pattern, now and later, whether a member is there or not. */
  bind(pattern: string, group: string): void;
  /** Called for each topic of the pattern: those that are there, at once. Answers how to stop it. */
  watch(pattern: string, found: (topic: Topic) => void): () => void;
  /** For a topic that nobody uses any more. */
  drop(name: string): void;
}

export interface HasGroups {
  readonly groups: ReadonlyMap<string, unknown>;
  /** Makes it if it is not there. */
  ensureGroup(group: string): unknown;
}

interface Binding {
  readonly matches: (topic: string) => boolean;
  readonly groups: Set<string>;
}
interface Watcher<Topic> {
  readonly matches: (topic: string) => boolean;
  readonly found: (topic: Topic) => void;
}

export function createTopics<Topic extends HasGroups>(create: (name: string) => Topic): Topics<Topic> {
  const topics = new Map<string, Topic>();
  const declared = new Set<string>();
  const bindings = new Map<string, Binding>();
  const watchers = new Set<Watcher<Topic>>();
  // Most publishes are for the same topic as the one before.
  let lastName: string | undefined;
  let last: Topic | undefined;

  function ensure(name: string): Topic {
    let topic = topics.get(name);
    if (topic !== undefined) return topic;
    topic = create(name);
    topics.set(name, topic);
    for (const { matches, groups } of bindings.values()) if (matches(name)) for (const group of groups) topic.ensureGroup(group);
    for (const { matches, found } of watchers) if (matches(name)) found(topic);
    return topic;
  }

  function isWanted(name: string): boolean {
    for (const { matches } of bindings.values()) if (matches(name)) return true;
    for (const { matches } of watchers) if (matches(name)) return true;
    return false;
  }

  function missing({ topics: names, groups }: Topology): string[] {
    const noTopics = names.filter((name) => !topics.has(name));
    const noGroups = groups.filter(({ topic, group }) => topics.get(topic)?.groups.has(group) !== true);
    return [...noTopics.map((name) => `topic ${name}`), ...noGroups.map(({ topic, group }) => `group ${group} of topic ${topic}`)];
  }

  return {
    find(name) {
      if (name === lastName) return last;
      const topic = topics.get(name) ?? (isWanted(name) ? ensure(name) : undefined);
      if (topic !== undefined) [lastName, last] = [name, topic];
      return topic;
    },
    ensure,
    peek: (name) => topics.get(name),
    declare(topology) {
      const made = missing(topology);
      for (const name of topology.topics) {
        ensure(name);
        declared.add(name);
      }
      for (const { topic, group } of topology.groups) ensure(topic).ensureGroup(group);
      return made;
    },
    missing,
    bind(pattern, group) {
      let binding = bindings.get(pattern);
      if (binding === undefined) {
        binding = { matches: compilePattern(pattern), groups: new Set() };
        bindings.set(pattern, binding);
      }
      binding.groups.add(group);
      for (const [name, topic] of topics) if (binding.matches(name)) topic.ensureGroup(group);
    },
    watch(pattern, found) {
      const watcher = { matches: compilePattern(pattern), found };
      for (const [name, topic] of topics) if (watcher.matches(name)) found(topic);
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    drop(name) {
      if (declared.has(name)) return;
      topics.delete(name);
      if (lastName === name) lastName = last = undefined;
    },
  };
}
