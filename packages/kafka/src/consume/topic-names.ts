import type { KafkaSession } from "../session/session.ts";

/** The topics whose names fit, as they come into being. */
export interface TopicNames {
  readonly now: () => readonly string[];
  /** Those that were there when it began. */
  readonly atFirst: ReadonlySet<string>;
  /** Told when there are more. */
  watch(widened: () => void): void;
  close(): Promise<void> | void;
}

/** How soon a topic is found that somebody else has made. */
const lookMs = 1_000;

export async function watchTopics(
  session: KafkaSession,
  fits: (name: string) => boolean,
  troubled: (error: unknown) => void,
): Promise<TopicNames> {
  const names = new Set((await session.topicNames()).filter(fits));
  let told: (() => void) | undefined;
  let closed = false;
  const stop = session.onTopic((name) => see([name]));

  function see(found: readonly string[]): void {
    const fresh = found.filter((name) => fits(name) && !names.has(name));
    if (fresh.length === 0 || closed) return;
    for (const name of fresh) names.add(name);
    told?.();
  }

  async function run(): Promise<void> {
    while ((await session.pause(Math.min(lookMs, session.settings.watchMs))) && !closed) {
      try {
        see(await session.topicNames());
      } catch (error) {
        troubled(error);
      }
    }
  }

  void run();
  return {
    now: () => [...names],
    atFirst: new Set(names),
    watch(widened) {
      told = widened;
      // What was found since it was asked first.
      if (names.size > 0) widened();
    },
    close() {
      closed = true;
      stop();
    },
  };
}
