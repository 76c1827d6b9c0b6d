/** What the checker keeps of a history. */
import type { Findings } from "./anomalies.ts";
import type { Claim, CommitEvent, FaultEvent, GapEvent, GroupEvent, HistoryRecord } from "./history.ts";
import { minHeap } from "./min-heap.ts";
import type { MinHeap } from "./min-heap.ts";

/** All sends of one id to one destination. */
export interface Sent {
  readonly msg: string;
  readonly dest: string;
  /** Only for these groups; undefined once it was sent to all. */
  only: Set<string> | undefined;
  /** Groups that a send for them alone was confirmed for. */
  readonly copiedTo: Set<string>;
  /** How often it may be stored: sends that did not fail for certain. */
  stores: number;
  readonly sender: string;
  readonly key: string | undefined;
  /** Of the first invoke. */
  readonly seq: number;
  readonly digests: Set<string>;
  ok: boolean;
  /** Some send of it is not known to have failed. */
  possible: boolean;
  expires: boolean;
  open: number;
  seen: boolean;
  /** By a settlement of the transport: no publish of its own. */
  readonly moved: boolean;
}

/** One message in the hands of one group. */
export interface Held {
  delivered: number;
  handled: boolean;
  deadLettered: boolean;
  /** The place of the first delivery. */
  place: string | undefined;
  /** It may be stored twice: one who held it died, and may have written it again before. */
  copied: boolean;
}

/** One stored message in the hands of one group: a copy is another one. */
export interface Stored {
  last: OpenDelivery | undefined;
  openHandle: OpenDelivery | undefined;
}

export interface OpenDelivery {
  readonly op: string;
  readonly msg: string;
  readonly groupKey: string;
  readonly process: string;
  readonly subscription: string;
  readonly stored: Stored;
  readonly part: string;
  readonly pos: string | number | undefined;
  readonly at: number;
  leaseEnds: number | undefined;
  handle: "none" | "started" | "ok" | "err";
  finished: boolean;
  staleAtAck: boolean;
}

export interface Group {
  readonly dest: string;
  readonly group: string | undefined;
  since: number;
  claim: Claim;
  handles: boolean;
  missed: number;
  readonly held: Map<string, Held>;
  readonly stored: Map<string, Stored>;
  /** By part: what is not finished, smallest position first. */
  readonly unfinished: Map<string, MinHeap<OpenDelivery>>;
  /** By part and position: which message is there. */
  readonly places: Map<string, string>;
  /** By sender and key: `seq` of the latest first delivery. */
  readonly newest: Map<string, Sent>;
}

export const groupKey = (dest: string, group: string | undefined): string => `${dest}\u0000${group ?? ""}`;
export const sentKey = (msg: string, dest: string): string => `${msg}\u0000${dest}`;

export interface State {
  records: number;
  missing: number;
  lastAt: number;
  progressAt: number;
  healedAt: number;
  drained: "complete" | "timeout" | undefined;
  readonly faults: { planned: number; landed: number };
  readonly sends: Map<string, Sent>;
  /** By process and `op`. */
  readonly openSends: Map<string, { readonly sent: Sent; readonly process: string }>;
  readonly deliveries: Map<string, OpenDelivery>;
  /** Ids with a dead letter, and the groups that it is from ("" unknown). */
  readonly deadLetters: Map<string, Set<string>>;
  /** First deliveries out of order: judged when it is known which publishes were ok. */
  readonly suspects: { readonly earlier: Sent; readonly later: Sent; readonly group: Group }[];
  readonly groups: Map<string, Group>;
  readonly patterns: Group[];
  readonly effects: Map<string, number>;
  readonly crashes: Set<string>;
  readonly counts: { delivered: number; handled: number; handlerErrors: number; redelivered: number };
  groupOf(dest: string, name: string | undefined): Group;
  subscribed(record: HistoryRecord & GroupEvent): void;
  revoked(record: HistoryRecord & GroupEvent): void;
  /** Whether the process let go of it after `at`, by a crash or by a revocation. */
  letGo(process: string, subscription: string, at: number): boolean;
  crashed(proc: string, inc: number): void;
  committed(record: HistoryRecord & CommitEvent, found: Findings): void;
  effect(group: string, msg: string, count: number): void;
  gap(record: GapEvent): void;
  fault(record: HistoryRecord & FaultEvent): void;
}

export function emptyState(): State {
  const groups = new Map<string, Group>();
  const patterns: Group[] = [];
  const revocations = new Map<string, number>();
  const crashes = new Set<string>();
  const effects = new Map<string, number>();
  const openSends = new Map<string, { readonly sent: Sent; readonly process: string }>();
  const state: State = {
    records: 0,
    missing: 0,
    lastAt: 0,
    progressAt: 0,
    healedAt: 0,
    drained: undefined,
    faults: { planned: 0, landed: 0 },
    sends: new Map(),
    openSends,
    deliveries: new Map(),
    deadLetters: new Map(),
    suspects: [],
    groups,
    patterns,
    effects,
    crashes,
    counts: { delivered: 0, handled: 0, handlerErrors: 0, redelivered: 0 },

    groupOf(dest: string, name: string | undefined): Group {
      const key = groupKey(dest, name);
      let group = groups.get(key);
      if (group === undefined) {
        const pattern = patterns.find((each) => each.group === name && matches(each.dest, dest));
        group = newGroup(dest, name, pattern?.since ?? Number.POSITIVE_INFINITY);
        if (pattern !== undefined) Object.assign(group, { claim: pattern.claim, handles: pattern.handles });
        groups.set(key, group);
      }
      return group;
    },
    subscribed(record: HistoryRecord & GroupEvent): void {
      if (record.dest.includes("*") || record.dest.includes(">")) {
        const known = patterns.find((each) => each.dest === record.dest && each.group === record.group);
        if (known === undefined) patterns.push(describe(newGroup(record.dest, record.group, record.seq), record));
        return;
      }
      const group = state.groupOf(record.dest, record.group);
      group.since = Math.min(group.since, record.seq);
      describe(group, record);
    },
    revoked(record: HistoryRecord & GroupEvent): void {
      revocations.set(`${record.proc}/${record.inc} ${groupKey(record.dest, record.group)} ${record.part ?? ""}`, record.tMono);
    },
    letGo(process, subscription, at) {
      return crashes.has(process) || (revocations.get(subscription) ?? -1) >= at;
    },
    crashed(proc: string, inc: number): void {
      crashes.add(`${proc}/${inc}`);
    },
    committed(record: HistoryRecord & CommitEvent, found: Findings): void {
      const heap = state.groupOf(record.dest, record.group).unfinished.get(record.part);
      if (heap === undefined) return;
      for (let least = heap.peek(); least !== undefined; least = heap.peek()) {
        if (!least.finished && least.stored.last === least && !state.letGo(least.process, least.subscription, least.at)) {
          if (Number(least.pos) < record.pos)
            found.add("OFFSET-JUMP", `${record.group}: ${record.part}@${record.pos} passes ${least.msg} at ${String(least.pos)}`);
          return;
        }
        heap.pop();
      }
    },
    effect(group: string, msg: string, count: number): void {
      const key = groupKey(group, msg);
      effects.set(key, (effects.get(key) ?? 0) + count);
    },
    gap(record: GapEvent): void {
      state.groupOf(record.dest, record.group).missed += record.count ?? Number.POSITIVE_INFINITY;
    },
    fault(record: HistoryRecord & FaultEvent): void {
      if (record.type === "planned") state.faults.planned += record.count ?? 1;
      else if (record.type === "stop") state.healedAt = record.tMono;
      else if (openSends.size > 0 || state.deliveries.size > 0) state.faults.landed += 1;
    },
  };
  return state;
}

function newGroup(dest: string, group: string | undefined, since: number): Group {
  return {
    dest,
    group,
    since,
    claim: { delivery: "at-least-once" },
    handles: false,
    missed: 0,
    held: new Map(),
    stored: new Map(),
    unfinished: new Map(),
    places: new Map(),
    newest: new Map(),
  };
}

function describe(group: Group, record: GroupEvent): Group {
  if (record.claim !== undefined) group.claim = record.claim;
  if (record.handles !== undefined) group.handles = record.handles;
  return group;
}

export const unfinishedHeap = (): MinHeap<OpenDelivery> => minHeap((left, right) => Number(left.pos) - Number(right.pos));

/** Tokens split by `.`: `*` one, `>` the rest. */
export function matches(pattern: string, topic: string): boolean {
  const tokens = topic.split(".");
  const wanted = pattern.split(".");
  if (wanted.at(-1) === ">")
    return tokens.length >= wanted.length && wanted.slice(0, -1).every((token, index) => token === "*" || token === tokens[index]);
  return tokens.length === wanted.length && wanted.every((token, index) => token === "*" || token === tokens[index]);
}
