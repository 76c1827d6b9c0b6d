import type { Clock } from "../clock.ts";
import { createGroupQueue, type GroupQueue } from "./queue-group.ts";
import { createRecent, type Recent } from "./recent.ts";
import type { Settings } from "./options.ts";

export interface QueueTopic {
  readonly name: string;
  readonly groups: ReadonlyMap<string, GroupQueue>;
  /** Those of `groups`: a walk over an array costs a publish less. */
  readonly queues: readonly GroupQueue[];
  /** A queue of each reader's own: nothing in it is settled. */
  readonly readers: GroupQueue[];
  readonly recent: Recent | undefined;
  ensureGroup(group: string): GroupQueue;
}

/** Makes the queues of a broker. */
export interface Queues {
  topic(name: string): QueueTopic;
  /** Belongs to no group: of a reader, or an inbox. */
  own(name: string): GroupQueue;
  nextGeneration(): number;
}

export function createQueues({ clock, maxDepth, deduplicationMs }: Settings): Queues {
  let generation = 0;
  const nextGeneration = (): number => (generation += 1);
  const make = (topic: string, group: string): GroupQueue => createGroupQueue({ topic, group, clock, maxDepth, nextGeneration });
  return {
    topic: (name) => createTopic(name, (group) => make(name, group), recentOf(clock, deduplicationMs)),
    own: (name) => make(name, ""),
    nextGeneration,
  };
}

function recentOf(clock: Clock, windowMs: number): Recent | undefined {
  return windowMs > 0 ? createRecent(clock, windowMs) : undefined;
}

function createTopic(name: string, make: (group: string) => GroupQueue, recent: Recent | undefined): QueueTopic {
  const groups = new Map<string, GroupQueue>();
  const queues: GroupQueue[] = [];
  return {
    name,
    groups,
    queues,
    readers: [],
    recent,
    ensureGroup(group) {
      let queue = groups.get(group);
      if (queue === undefined) {
        queue = make(group);
        groups.set(group, queue);
        queues.push(queue);
      }
      return queue;
    },
  };
}
