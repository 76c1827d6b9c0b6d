import type { KafkaSession } from "../session/session.ts";
import { createSignal } from "./signal.ts";

/** Sees when a topic that is wanted comes into being, or gets other partitions. */
export interface TopicWatch {
  /** Looks once, so that all that changes from now on is told; what is wanted since the last time is no change. */
  start(): Promise<void>;
  close(): void;
}

export interface TopicWatchOptions {
  readonly session: KafkaSession;
  readonly wanted: () => ReadonlySet<string>;
  /** Those of which some may wait for that they come into being. Default: all. */
  readonly awaited?: () => ReadonlySet<string>;
  readonly changed: () => void;
  readonly troubled: (error: unknown) => void;
}

/** While some topic is missing somebody may wait for it. */
const missingMs = 1_000;

export function createTopicWatch({ session, wanted, awaited = wanted, changed, troubled }: TopicWatchOptions): TopicWatch {
  const signal = createSignal(session.clock);
  const stopTelling = session.onTopic((topic) => {
    if (wanted().has(topic)) signal.fire();
  });
  let known = new Map<string, string>();
  let isRunning = false;
  let closed = false;

  async function look(maxAgeMs: number): Promise<boolean> {
    const found = await session.metadata([...wanted()], { maxAgeMs });
    const before = known;
    known = new Map([...found].map(([name, { topicId, partitions }]) => [name, `${topicId} ${partitions.length}`]));
    return [...known].some(([name, form]) => before.get(name) !== form);
  }

  async function run(): Promise<void> {
    for (;;) {
      const isMissing = [...awaited()].some((name) => !known.has(name));
      await signal.wait(isMissing ? missingMs : session.settings.watchMs);
      if (closed) return;
      try {
        if ((await look(missingMs / 2)) && !closed) changed();
      } catch (error) {
        if (!closed) troubled(error);
      }
    }
  }

  return {
    async start() {
      await look(missingMs);
      if (!isRunning) void run();
      isRunning = true;
    },
    close() {
      closed = true;
      stopTelling();
      signal.fire();
    },
  };
}
