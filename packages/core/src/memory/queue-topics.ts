import { compilePattern } from "../pattern.ts";
import { createGroupQueue, type GroupQueue } from "./queue-group.ts";
import { createRecent, type Recent } from "./recent.ts";
import type { Settings } from "./options.ts";

export interface Topic {
  readonly name: string;
  readonly groups: ReadonlyMap<string, GroupQueue>;
  /** Those of `groups`: a walk over an array costs a publish less. */
  readonly queues: readonly GroupQueue[];
  /** A queue of each reader's own: nothing in it is settled. */
  readonly readers: GroupQueue[];
  readonly recent: Recent | undefined;
  declared: boolean;
}

/** Which queues a topic has. A pattern is nothing but all topics that match it, those to come included. */
export interface Topics {
  /** Made if a pattern wants it; undefined: nobody does. */
  find(name: string): Topic | undefined;
  ensure(name: string): Topic;
  /** It stays, whoever leaves. */
  declare(name: string): void;
  ensureGroup(topic: string, group: string): GroupQueue;
  /** Without the making. */
  peek(name: string): Topic | undefined;
  /** A queue that belongs to no group. */
  privateQueue(name: string): GroupQueue;
  /** The group comes into being in every topic of the pattern, now and later, whether a member is there or not. */
  bind(pattern: string, group: string): void;
  /** Called for each topic of the pattern: those that are there, at once. Answers how to stop it. */
  watch(pattern: string, found: (topic: Topic) => void): () => void;
  /** The topic had its last reader. */
  prune(topic: Topic): void;
  nextGeneration(): number;
}

interface Binding {
  readonly matches: (topic: string) => boolean;
  readonly groups: Set<string>;
}
interface Watcher {
  readonly matches: (topic: string) => boolean;
  readonly found: (topic: Topic) => void;
}

interface OwnTopic extends Topic {
  readonly groups: Map<string, GroupQueue>;
  readonly queues: GroupQueue[];
}

export function createTopics({ clock, maxDepth, deduplicationMs }: Settings): Topics {
  const topics = new Map<string, OwnTopic>();
  const bindings = new Map<string, Binding>();
  const watchers = new Set<Watcher>();
  let last: Topic | undefined;
  let generation = 0;
  const nextGeneration = (): number => (generation += 1);

  function ensure(name: string): OwnTopic {
    let topic = topics.get(name);
    if (topic !== undefined) return topic;
    topic = { name, groups: new Map(), queues: [], readers: [], recent: deduplicationMs > 0 ? createRecent(clock, deduplicationMs) : undefined, declared: false };
    topics.set(name, topic);
    for (const { matches, groups } of bindings.values()) if (matches(name)) for (const group of groups) ensureGroup(topic, group);
    for (const { matches, found } of watchers) if (matches(name)) found(topic);
    return topic;
  }

  function ensureGroup(topic: OwnTopic, group: string): GroupQueue {
    let queue = topic.groups.get(group);
    if (queue === undefined) {
      queue = createGroupQueue({ topic: topic.name, group, clock, maxDepth, nextGeneration });
      topic.groups.set(group, queue);
      topic.queues.push(queue);
    }
    return queue;
  }

  function isWanted(name: string): boolean {
    for (const { matches } of bindings.values()) if (matches(name)) return true;
    for (const { matches } of watchers) if (matches(name)) return true;
    return false;
  }

  return {
    find(name) {
      if (last !== undefined && last.name === name) return last;
      const topic = topics.get(name) ?? (isWanted(name) ? ensure(name) : undefined);
      if (topic !== undefined) last = topic;
      return topic;
    },
    ensure,
    declare(name) {
      ensure(name).declared = true;
    },
    peek: (name) => topics.get(name),
    ensureGroup: (name, group) => ensureGroup(ensure(name), group),
    privateQueue: (name) => createGroupQueue({ topic: name, group: "", clock, maxDepth, nextGeneration }),
    bind(pattern, group) {
      let binding = bindings.get(pattern);
      if (binding === undefined) {
        binding = { matches: compilePattern(pattern), groups: new Set() };
        bindings.set(pattern, binding);
      }
      binding.groups.add(group);
      for (const topic of topics.values()) if (binding.matches(topic.name)) ensureGroup(topic, group);
    },
    watch(pattern, found) {
      const watcher = { matches: compilePattern(pattern), found };
      watchers.add(watcher);
      for (const topic of topics.values()) if (watcher.matches(topic.name)) found(topic);
      return () => watchers.delete(watcher);
    },
    prune(topic) {
      if (topic.declared || topic.groups.size > 0 || topic.readers.length > 0) return;
      topics.delete(topic.name);
      if (last === topic) last = undefined;
    },
    nextGeneration,
  };
}

