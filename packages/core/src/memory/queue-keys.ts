import type { Entry, Member } from "./queue-entry.ts";

/**
 * `order: "key"` across the members of a group: while one holds messages of a key, the later ones of that key go to it alone,
 * and while one of the key waits for its retry, to nobody. What cannot go out yet is parked here.
 */
export interface KeyLanes {
  /** Whether it may go to this member now; if not, it is parked. */
  admits(entry: Entry, member: Member): boolean;
  taken(entry: Entry, member: Member): void;
  letGo(entry: Entry): void;
  /** It comes back later, and its key waits for it until it is `due`. */
  retrying(entry: Entry): void;
  due(entry: Entry): void;
  /** What the same member holds of its key. */
  held(entry: Entry): readonly Entry[];
  forEachParked(visit: (entry: Entry) => void): void;
  removeParked(drop: (entry: Entry) => boolean): void;
}

interface Lane {
  readonly held: Set<Entry>;
  /** The one who may have more of it. */
  readonly holder: Member | undefined;
  readonly retrying: Set<Entry>;
  parked: Entry[];
}

/** `free` gets back what was parked, when its key is free again. */
export function createKeyLanes(free: (entry: Entry) => void): KeyLanes {
  const lanes = new Map<string, Lane>();

  function lane(entry: Entry): Lane | undefined {
    return entry.message.key === undefined ? undefined : lanes.get(entry.message.key);
  }

  function leave(entry: Entry, from: "held" | "retrying"): void {
    const its = lane(entry);
    if (its?.[from].delete(entry) !== true || its.held.size > 0 || its.retrying.size > 0) return;
    lanes.delete(entry.message.key as string);
    for (const parked of its.parked) free(parked);
  }

  function enter(entry: Entry, into: "held" | "retrying", holder: Member | undefined): void {
    const { key } = entry.message;
    if (key === undefined) return;
    let its = lanes.get(key);
    if (its === undefined) {
      its = { held: new Set(), holder, retrying: new Set(), parked: [] };
      lanes.set(key, its);
    }
    its[into].add(entry);
  }

  return {
    admits(entry, member) {
      const its = lane(entry);
      if (its === undefined) return true;
      // What is parked came before it.
      if (its.retrying.size === 0 && its.parked.length === 0 && its.holder === member) return true;
      its.parked.push(entry);
      return false;
    },
    taken: (entry, member) => enter(entry, "held", member),
    letGo: (entry) => leave(entry, "held"),
    retrying: (entry) => enter(entry, "retrying", undefined),
    due: (entry) => leave(entry, "retrying"),
    held: (entry) => [...(lane(entry)?.held ?? [])],
    forEachParked(visit) {
      for (const { parked } of lanes.values()) for (const entry of parked) visit(entry);
    },
    removeParked(drop) {
      for (const its of lanes.values()) its.parked = its.parked.filter((entry) => !drop(entry));
    },
  };
}
