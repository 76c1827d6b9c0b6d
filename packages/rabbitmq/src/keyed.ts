import type { ConsumeMessage } from "amqplib";

/** A message that waits here, unacknowledged, for its next attempt: none of its key may pass it. */
export interface Redelivery {
  readonly raw: ConsumeMessage;
  /** Undefined: it only waited behind one, and was not handed out before. */
  readonly attempt: number | undefined;
  readonly note: string | undefined;
}

/** Retries of a group that keeps the order of its keys: in place, by the one member that is active. */
export interface KeyedRetries {
  retry(again: Redelivery, key: string | undefined, delayMs: number): void;
  /** True: its key is waited for, and so does it. */
  park(raw: ConsumeMessage, key: string | undefined): boolean;
  peek(): Redelivery | undefined;
  shift(): void;
  readonly size: number;
  clear(): readonly ConsumeMessage[];
}

export function createKeyedRetries(wake: () => void): KeyedRetries {
  const parked = new Map<string, Redelivery[]>();
  const timers = new Map<NodeJS.Timeout, Redelivery>();
  let due: Redelivery[] = [];

  return {
    retry(again, key, delayMs) {
      if (key !== undefined && !parked.has(key)) parked.set(key, []);
      const timer = setTimeout(
        () => {
          timers.delete(timer);
          due.push(again);
          if (key !== undefined) {
            due.push(...(parked.get(key) ?? []));
            parked.delete(key);
          }
          wake();
        },
        Math.max(0, delayMs),
      );
      timers.set(timer, again);
    },
    park(raw, key) {
      const behind = key === undefined ? undefined : parked.get(key);
      behind?.push({ raw, attempt: undefined, note: undefined });
      return behind !== undefined;
    },
    peek: () => due[0],
    shift: () => void due.shift(),
    get size() {
      let size = timers.size + due.length;
      for (const behind of parked.values()) size += behind.length;
      return size;
    },
    clear() {
      const all = [...due, ...timers.values(), ...[...parked.values()].flat()].map(({ raw }) => raw);
      for (const timer of timers.keys()) clearTimeout(timer);
      timers.clear();
      parked.clear();
      due = [];
      return all;
    },
  };
}
