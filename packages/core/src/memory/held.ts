/** Answers that are held back: until the broker gives them, or until it is certain that it never will. */
export interface Held {
  hold<T>(answer: HeldAnswer<T>, signal?: AbortSignal): Promise<T>;
  giveAll(): void;
  loseAll(why: Loss): void;
}

export type Loss = "aborted" | "disconnected" | "closed";

export interface HeldAnswer<T> {
  readonly give: () => T;
  readonly lose: (why: Loss) => T;
}

export function createHeld(): Held {
  const waiting = new Set<{ give(): void; lose(why: Loss): void }>();
  return {
    hold<T>({ give, lose }: HeldAnswer<T>, signal?: AbortSignal) {
      const { promise, resolve } = Promise.withResolvers<T>();
      const onAbort = (): void => entry.lose("aborted");
      const end = (answer: T): void => {
        waiting.delete(entry);
        signal?.removeEventListener("abort", onAbort);
        resolve(answer);
      };
      const entry = { give: () => end(give()), lose: (why: Loss) => end(lose(why)) };
      waiting.add(entry);
      if (signal?.aborted === true) entry.lose("aborted");
      else signal?.addEventListener("abort", onAbort, { once: true });
      return promise;
    },
    giveAll() {
      for (const entry of [...waiting]) entry.give();
    },
    loseAll(why) {
      for (const entry of [...waiting]) entry.lose(why);
    },
  };
}
