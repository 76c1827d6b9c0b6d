/** Of one topic, since the bus was made: the three add up to all publishes that have ended. */
export interface TopicCounters {
  /** Confirmed by the transport. */
  published: number;
  /** It did not happen: refused, or given up before it was written. */
  publishFailed: number;
  /** Given up without a word from the transport: it may have happened. */
  publishUnknown: number;
}

/** Of one subscription. `delivered` = acked one way or another + in hand + given back. */
export interface GroupCounters {
  delivered: number;
  /** Handlers that ended well. */
  handled: number;
  /** Attempts that failed. */
  failed: number;
  retried: number;
  deadLettered: number;
  /** Given up without a dead letter, and missed messages whose number is known. */
  dropped: number;
  expired: number;
  /** Repeats that the inbox recognised. */
  duplicates: number;
  /** Times that the transport reported missed messages. */
  gaps: number;
  /** Given back unhandled. */
  released: number;
  /** Deliveries that went to another member before they were settled. */
  lost: number;
  /** Handlers that run on after their time, now. */
  abandoned: number;
}

export interface BusCounters {
  /** Outbox rows that were published. */
  relayed: number;
  requests: number;
  /** Times that the link was lost. */
  disconnects: number;
}

export interface MetricsSnapshot {
  readonly bus: Readonly<BusCounters>;
  readonly topics: Readonly<Record<string, Readonly<TopicCounters>>>;
  /** By `topic`, then by `group`. */
  readonly groups: Readonly<Record<string, Readonly<Record<string, Readonly<GroupCounters>>>>>;
}

/** Plain numbers, raised in place: counting costs an addition. */
export interface Metrics {
  readonly bus: BusCounters;
  topic(name: string): TopicCounters;
  group(topic: string, group: string): GroupCounters;
  /** A copy. */
  snapshot(): MetricsSnapshot;
}

/** Topics counted by name; what comes after is counted together, so that reply addresses do not fill the memory. */
const maxTopics = 1_000;
const otherTopics = "(other)";

export function createMetrics(): Metrics {
  const topics = new Map<string, TopicCounters>();
  const groups = new Map<string, Map<string, GroupCounters>>();
  const bus: BusCounters = { relayed: 0, requests: 0, disconnects: 0 };
  let lastName: string | undefined;
  let lastCounters: TopicCounters | undefined;

  return {
    bus,
    topic(name) {
      if (name === lastName && lastCounters !== undefined) return lastCounters;
      const known = topics.size < maxTopics || topics.has(name) ? name : otherTopics;
      let counters = topics.get(known);
      if (counters === undefined) {
        counters = { published: 0, publishFailed: 0, publishUnknown: 0 };
        topics.set(known, counters);
      }
      lastName = name;
      lastCounters = counters;
      return counters;
    },
    group(topic, group) {
      let byGroup = groups.get(topic);
      if (byGroup === undefined) groups.set(topic, (byGroup = new Map<string, GroupCounters>()));
      let counters = byGroup.get(group);
      if (counters === undefined) byGroup.set(group, (counters = newGroup()));
      return counters;
    },
    snapshot() {
      const byTopic = [...groups].map(([topic, byGroup]) => {
        const entries = [...byGroup].map(([group, counters]) => [group, { ...counters }] as const);
        return [topic, Object.fromEntries(entries)] as const;
      });
      return {
        bus: { ...bus },
        topics: Object.fromEntries([...topics].map(([topic, counters]) => [topic, { ...counters }])),
        groups: Object.fromEntries(byTopic),
      };
    },
  };
}

function newGroup(): GroupCounters {
  return {
    delivered: 0,
    handled: 0,
    failed: 0,
    retried: 0,
    deadLettered: 0,
    dropped: 0,
    expired: 0,
    duplicates: 0,
    gaps: 0,
    released: 0,
    lost: 0,
    abandoned: 0,
  };
}
