import type { Entry, Member } from "./queue-entry.ts";

/**
 * `order: "key"` across the members of a group: while one holds messages of a key, the later ones of that key go to it alone,
 * and while one of the key waits for its retry, to nobody. What cannot go out yet is parked here.
 */
export interface KeyLanes {
  /** Whether it goes to this member now; if not, it is parked. */
  take(entry: Entry, member: Member): boolean;
  letGo(entry: Entry): void;
  /** It comes back later, and its key waits for it until it is `due`. */
  retrying(entry: Entry): void;
  due(entry: Entry): void;
  /** What the holder of this one has of its key. */
  heldWith(entry: Entry): readonly Entry[];
  forEachParked(visit: (entry: Entry) => void): void;
  removeParked(drop: (entry: Entry) => boolean): void;
}

interface Lane {
  readonly holder: Member | undefined;
  readonly held: Entry[];
  readonly retrying: Entry[];
  parked: Entry[];
}

/** `free` gets back what was parked, when its key is free again. */
export function createKeyLanes(free: (entry: Entry) => void): KeyLanes {
  const lanes = new Map<string, Lane>();

  function lane({ message }: Entry): Lane | undefined {
    return message.key === undefined ? undefined : lanes.get(message.key);
  }

  function leave(entry: Entry, from: "held" | "retrying"): void {
    const its = lane(entry);
    if (its === undefined) return;
    const at = its[from].indexOf(entry);
    if (at === -1) return;
    its[from].splice(at, 1);
    if (its.held.length > 0 || its.retrying.length > 0) return;
    lanes.delete(entry.message.key as string);
    for (const parked of its.parked) free(parked);
  }

  return {
    take(entry, member) {
      const { key } = entry.message;
      if (key === undefined) return true;
      const its = lanes.get(key);
      if (its === undefined) {
        lanes.set(key, { holder: member, held: [entry], retrying: [], parked: [] });
        return true;
      }
      // What is parked came before it.
      const admitted = its.retrying.length === 0 && its.parked.length === 0 && its.holder === member;
      (admitted ? its.held : its.parked).push(entry);
      return admitted;
    },
    letGo: (entry) => leave(entry, "held"),
    retrying(entry) {
      const { key } = entry.message;
      if (key === undefined) return;
      const its = lanes.get(key);
      if (its === undefined) lanes.set(key, { holder: undefined, held: [], retrying: [entry], parked: [] });
      else its.retrying.push(entry);
    },
    due: (entry) => leave(entry, "retrying"),
    heldWith: (entry) => lane(entry)?.held.slice() ?? [],
    forEachParked(visit) {
      for (const { parked } of lanes.values()) for (const entry of parked) visit(entry);
    },
    removeParked(drop) {
      for (const its of lanes.values()) its.parked = its.parked.filter((entry) => !drop(entry));
    },
  };
}
