import { compilePattern } from "../pattern.ts";

/**
 * The topics of a broker. A pattern is nothing but all topics that match it, those to come included: so a group has one place
 * in each topic, whether its members came by the name or by a pattern.
 */
export interface Topics<Topic> {
  /** Made if a pattern wants it; undefined: nobody does. */
  find(name: string): Topic | undefined;
  ensure(name: string): Topic;
  /** Without the making. */
  peek(name: string): Topic | undefined;
  /** It stays, whoever leaves. */
  declare(name: string): void;
  /** The group comes into being in every topic of the pattern, now and later, whether a member is there or not. */
  bind(pattern: string, group: string): void;
  /** Called for each topic of the pattern: those that are there, at once. Answers how to stop it. */
  watch(pattern: string, found: (topic: Topic) => void): () => void;
  /** For a topic that nobody uses any more. */
  drop(name: string): void;
}

interface Binding {
  readonly matches: (topic: string) => boolean;
  readonly groups: Set<string>;
}
interface Watcher<Topic> {
  readonly matches: (topic: string) => boolean;
  readonly found: (topic: Topic) => void;
}

/** `ensureGroup`: makes the group in the topic if it is not there. */
export function createTopics<Topic>(create: (name: string) => Topic, ensureGroup: (topic: Topic, group: string) => void): Topics<Topic> {
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
    for (const { matches, groups } of bindings.values()) if (matches(name)) for (const group of groups) ensureGroup(topic, group);
    for (const { matches, found } of watchers) if (matches(name)) found(topic);
    return topic;
  }

  function isWanted(name: string): boolean {
    for (const { matches } of bindings.values()) if (matches(name)) return true;
    for (const { matches } of watchers) if (matches(name)) return true;
    return false;
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
    declare(name) {
      ensure(name);
      declared.add(name);
    },
    bind(pattern, group) {
      let binding = bindings.get(pattern);
      if (binding === undefined) {
        binding = { matches: compilePattern(pattern), groups: new Set() };
        bindings.set(pattern, binding);
      }
      binding.groups.add(group);
      for (const [name, topic] of topics) if (binding.matches(name)) ensureGroup(topic, group);
    },
    watch(pattern, found) {
      const watcher = { matches: compilePattern(pattern), found };
      watchers.add(watcher);
      for (const [name, topic] of topics) if (watcher.matches(name)) found(topic);
      return () => watchers.delete(watcher);
    },
    drop(name) {
      if (declared.has(name)) return;
      topics.delete(name);
      if (lastName === name) lastName = last = undefined;
    },
  };
}
