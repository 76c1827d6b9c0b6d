import { realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { leaveTurns, makeTurns, places } from "./turns.ts";
import { toError } from "./errors.ts";

/** What the transports and stores of one process share of one file: the lock that they take in turn. */
export interface Place {
  readonly turns: SharedArrayBuffer;
  /** Places in the lock: the worker's and the user thread's. */
  readonly worker: number;
  readonly user: number;
  /** Somebody waits to hear of new outbox rows. */
  watch(wake: () => void): () => void;
  outboxChanged(): void;
  leave(): void;
}

interface Shared {
  readonly turns: SharedArrayBuffer;
  readonly used: Set<number>;
  readonly watchers: Set<() => void>;
}

// One process, one lock a file: without it two transports on the same file would contend by trial and error.
const files = new Map<string, Shared>();

/** The file's one name, so far as its directory exists. */
export function canonical(path: string): string {
  try {
    return join(realpathSync(dirname(path)), basename(path));
  } catch {
    return path;
  }
}

export function openPlace(path: string): Place {
  const name = canonical(path);
  let shared = files.get(name);
  if (shared === undefined) {
    shared = { turns: makeTurns(), used: new Set(), watchers: new Set() };
    files.set(name, shared);
  }
  const file = shared;
  const worker = freePlace(file.used);
  const user = freePlace(file.used);
  return {
    turns: file.turns,
    worker,
    user,
    watch(wake) {
      file.watchers.add(wake);
      return () => file.watchers.delete(wake);
    },
    outboxChanged() {
      for (const wake of file.watchers) wake();
    },
    leave() {
      for (const place of [worker, user]) {
        leaveTurns(file.turns, place);
        file.used.delete(place);
      }
      if (file.used.size === 0) files.delete(name);
    },
  };
}

function freePlace(used: Set<number>): number {
  for (let place = 0; place < places; place++) {
    if (used.has(place)) continue;
    used.add(place);
    return place;
  }
  throw toError({
    code: "BUSY",
    text: `more than ${places / 2} embedded transports and stores on one file in one process`,
    certainty: "definite",
  });
}
