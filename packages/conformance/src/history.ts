/**
 * The record of a run: one JSON object a line, append-only, in the order in which a collector outside every fault domain
 * received them. Who writes a record does so before it acts on it, so that a crash loses no act.
 */
export const historyVersion = 1;

export interface Claim {
  readonly delivery: "at-most-once" | "at-least-once";
  /** First deliveries of one sender and key keep their order. */
  readonly order?: boolean;
  /** A repeated id is stored once. */
  readonly deduplicated?: boolean;
}

/** What every record says of its origin. The collector adds `seq`: 0, 1, 2 … without a hole. */
export interface Origin {
  readonly v: typeof historyVersion;
  readonly run: string;
  readonly seed: number;
  readonly proc: string;
  /** Incarnation: new after each restart of the process. */
  readonly inc: number;
  /** ns, `CLOCK_MONOTONIC` of the one host. */
  readonly tMono: number;
}

/** `invoke` is written before the first byte leaves; `ok` after the confirm; `fail` for a definite error; else `info`. */
export interface SendEvent {
  readonly f: "send";
  readonly type: "invoke" | "ok" | "fail" | "info";
  readonly op: string;
  readonly msg: string;
  readonly dest: string;
  readonly key?: string;
  /** Only for this group. */
  readonly group?: string;
  /** Of body and headers. */
  readonly dig?: string;
  /** Of a dead letter: the group that gave it up. */
  readonly from?: string;
  /** It may expire, and is then not lost. */
  readonly expires?: boolean;
  readonly err?: { readonly code: string; readonly certainty: string };
}

export type DeliveryType =
  | "delivered"
  | "handle-start"
  | "handled-ok"
  | "handled-err"
  | "ack-invoke"
  | "ack-ok"
  | "ack-fail"
  | "ack-info"
  | "nack"
  | "extend"
  | "dead-lettered";

/** A state machine for each delivery (`op`), not for each message. */
export interface DeliveryEvent {
  readonly f: "delivery";
  readonly type: DeliveryType;
  readonly op: string;
  readonly msg: string;
  readonly dest: string;
  readonly group?: string;
  readonly part?: string;
  readonly pos?: string | number;
  readonly gen?: number;
  readonly attempt?: number;
  readonly dig?: string;
  /** Of `delivered` and `extend`: how long it is this member's from now on. */
  readonly leaseMs?: number;
  /** Of `dead-lettered`: where it went. */
  readonly to?: string;
}

export interface GroupEvent {
  readonly f: "group";
  /** `subscribed`: what is invoked after it is owed to the group. `revoked`: this process let go of the part. */
  readonly type: "subscribed" | "revoked";
  readonly dest: string;
  readonly group?: string;
  readonly part?: string;
  readonly claim?: Claim;
  /** Handle records will follow: an acknowledgement without one is early. */
  readonly handles?: boolean;
}

export interface CommitEvent {
  readonly f: "commit";
  readonly type: "ok";
  readonly dest: string;
  readonly group: string;
  readonly part: string;
  /** The first position that is not covered. */
  readonly pos: number;
}

export interface EffectEvent {
  readonly f: "effect";
  readonly type: "row";
  readonly group: string;
  readonly msg: string;
  /** Default 1. */
  readonly count?: number;
}

export interface GapEvent {
  readonly f: "gap";
  readonly type: "counted";
  readonly dest: string;
  readonly group?: string;
  readonly count?: number;
}

export interface FaultEvent {
  readonly f: "fault";
  /** `planned` says once how many are to land. */
  readonly type: "planned" | "start" | "stop";
  readonly fault: string;
  readonly count?: number;
}

export interface ProcessEvent {
  readonly f: "process";
  /** After `crash` nothing of this incarnation counts as open. */
  readonly type: "start" | "crash" | "end";
}

export interface DrainEvent {
  readonly f: "drain";
  readonly type: "start" | "end";
  readonly reason?: "complete" | "timeout";
}

export type HistoryEvent =
  | SendEvent
  | DeliveryEvent
  | GroupEvent
  | CommitEvent
  | EffectEvent
  | GapEvent
  | FaultEvent
  | ProcessEvent
  | DrainEvent;
export type HistoryRecord = Origin & { readonly seq: number } & HistoryEvent;
export type UnsequencedRecord = Origin & HistoryEvent;

/** One line of a published history. Throws `SyntaxError` for what is no record. */
export function parseRecord(line: string): HistoryRecord {
  const value: unknown = JSON.parse(line);
  if (typeof value !== "object" || value === null || !("f" in value) || !("seq" in value)) throw new SyntaxError("not a history record");
  if (!("v" in value) || value.v !== historyVersion) throw new SyntaxError("a history of another version");
  return value as HistoryRecord;
}
