import type { KafkaSession } from "../session/session.ts";
import { createSignal } from "./signal.ts";

/** Sees when a topic that is wanted comes into being, or gets other partitions. */
export interface TopicWatch {
  start(): void;
  look(): void;
  close(): void;
}

export interface TopicWatchOptions {
  readonly session: KafkaSession;
  readonly wanted: () => ReadonlySet<string>;
  readonly changed: () => void;
  readonly troubled: (error: unknown) => void;
}

/** While some topic is missing somebody may wait for it. */
const missingMs = 1_000;

export function createTopicWatch({ session, wanted, changed, troubled }: TopicWatchOptions): TopicWatch {
  const signal = createSignal(session.clock);
  const stopTelling = session.onTopic((topic) => {
    if (wanted().has(topic)) signal.fire();
  });
  let known = new Map<string, string>();
  let isRunning = false;
  let closed = false;

  async function run(): Promise<void> {
    let isFirst = true;
    while (!closed) {
      const names = [...wanted()];
      let isMissing = true;
      try {
        const found = await session.metadata(names, isFirst ? {} : { maxAgeMs: missingMs / 2 });
        const now = new Map([...found].map(([name, { topicId, partitions }]) => [name, `${topicId} ${partitions.length}`]));
        isMissing = names.some((name) => !now.has(name));
        // What is wanted for the first time is told by whoever wants it.
        if (!isFirst && [...now].some(([name, form]) => known.get(name) !== form) && !closed) changed();
        known = now;
        isFirst = false;
      } catch (error) {
        if (closed) return;
        troubled(error);
      }
      await signal.wait(isMissing ? missingMs : session.settings.watchMs);
    }
  }

  return {
    start() {
      if (!isRunning) void run();
      isRunning = true;
      signal.fire();
    },
    look: () => signal.fire(),
    close() {
      closed = true;
      stopTelling();
      signal.fire();
    },
  };
}
