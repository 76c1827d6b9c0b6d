import type { InboxPlace } from "../sql/inbox.ts";
import type { Browsed, Headers, Inspection, Message, OutboxRow, StartPosition, Topology } from "@waybill/core";
import type { Failure } from "../sql/failure.ts";
import type { Target } from "../sql/append.ts";

/** What the worker is started with. */
export interface WorkerSettings {
  readonly path: string;
  /** See turns.ts: the lock that this process's connections to the file take in turn. */
  readonly turns: SharedArrayBuffer;
  readonly place: number;
  /** [0]: when the user's thread last ran, ms. From [1] on: one cell a publish batch, see `batchStates`. */
  readonly shared: SharedArrayBuffer;
  readonly maxFileBytes: number | undefined;
  readonly lockTimeoutMs: number;
  readonly retentionMs: number;
  readonly deduplicationMs: number;
  readonly deduplicationMessages: number;
  readonly pollMs: number;
  /** After a worker that ended by itself: whose leases the new one goes on with. */
  readonly member: number | undefined;
  /** How many workers there were before it. */
  readonly incarnation: number;
}

/** Who comes first, the worker that starts or the caller whose signal fired, decides by compare-and-exchange. */
export const batchStates = { waiting: 0, started: 1, dropped: 2 } as const;
export const stateCells = 4096;

export interface SubscribeCall {
  readonly sub: number;
  readonly topic: string | undefined;
  readonly pattern: string | undefined;
  readonly group: string | undefined;
  readonly from: StartPosition;
  readonly leaseMs: number;
  readonly ordered: boolean;
  readonly inbox: string | undefined;
}

/** How much a subscription has been granted since it began, so that a grant in flight and a delivery in flight cannot cross. */
export interface Grant {
  readonly sub: number;
  readonly messages: number;
  readonly bytes: number;
  /** Nothing is in hand. */
  readonly empty: boolean;
  /** With less room a fetch of its own may wait a little for more, so that not every message costs a commit. */
  readonly minimum: number;
}

export interface Calls {
  subscribe: { readonly args: SubscribeCall; readonly answer: null };
  unsubscribe: { readonly args: { readonly sub: number }; readonly answer: null };
  inspect: { readonly args: { readonly topic: string; readonly group: string }; readonly answer: Inspection };
  browse: {
    readonly args: { readonly topic: string; readonly group: string; readonly after: number; readonly limit: number };
    readonly answer: readonly Browsed[];
  };
  remove: {
    readonly args: { readonly topic: string; readonly group: string; readonly positions: readonly number[] };
    readonly answer: number;
  };
  seek: { readonly args: { readonly topic: string; readonly group: string; readonly to: StartPosition }; readonly answer: null };
  declare: { readonly args: Topology; readonly answer: readonly string[] };
  check: { readonly args: Topology; readonly answer: readonly string[] };
  query: {
    readonly args: { readonly sql: string; readonly values: readonly (string | number | bigint | null | Uint8Array)[] };
    readonly answer: readonly Readonly<Record<string, unknown>>[];
  };
  diagnose: { readonly args: null; readonly answer: Diagnosis };
  applied: { readonly args: { readonly group: string; readonly ids: readonly string[] }; readonly answer: readonly boolean[] };
  forget: {
    readonly args: { readonly olderThanMs: number; readonly after: InboxPlace };
    readonly answer: { readonly gone: number; readonly next: InboxPlace | undefined };
  };
  takeOutbox: {
    readonly args: { readonly owner: string; readonly limit: number; readonly leaseMs: number };
    readonly answer: readonly OutboxRow[];
  };
  doneOutbox: { readonly args: { readonly owner: string; readonly rows: readonly number[] }; readonly answer: null };
  releaseOutbox: { readonly args: { readonly owner: string; readonly rows: readonly number[] }; readonly answer: null };
  backlog: { readonly args: null; readonly answer: { readonly rows: number; readonly oldestAt: number | undefined } };
  watchOutbox: { readonly args: { readonly on: boolean }; readonly answer: null };
  close: { readonly args: null; readonly answer: null };
}
export type CallName = keyof Calls;

export interface Diagnosis {
  readonly formatVersion: number;
  readonly members: readonly { readonly id: number; readonly pid: number; readonly self: boolean }[];
  /** Messages that are damaged and are never served; they stay in the file for `salvage`. */
  readonly quarantined: readonly { readonly position: number; readonly topic: string | undefined; readonly reason: string }[];
}

export type ToWorker =
  | { readonly t: "call"; readonly id: number; readonly name: CallName; readonly args: unknown }
  | {
      readonly t: "publish";
      readonly id: number;
      readonly cell: number;
      readonly targets: readonly Target[];
      readonly data: ArrayBuffer;
      readonly index: ArrayBuffer;
      readonly timed: readonly (readonly [number, number | undefined, number | undefined])[];
      readonly newestTime: number;
    }
  | {
      readonly t: "settle";
      readonly id: number;
      readonly numbers: ArrayBuffer;
      readonly notes: readonly (readonly [number, string])[];
      readonly deadLetters: readonly (readonly [number, string, Headers])[];
      readonly grant: Grant | undefined;
    }
  | { readonly t: "grant"; readonly grant: Grant }
  /** The connection of the user's thread committed. */
  | { readonly t: "wake" };

/** Numbers of one settlement in `numbers`. */
export const settleStride = 7;
/** Numbers of one delivery in `meta`: where its record ends, seq, index in the lease (-1: by itself), attempt, entry of `streams`. */
export const deliverStride = 5;

export interface Deliver {
  readonly t: "deliver";
  readonly sub: number;
  /** 0: a reader's, never settled. */
  readonly group: number;
  readonly topic: string;
  readonly lease: number;
  /** On the host's monotonic clock, ms. */
  readonly expiresMonotonic: number;
  readonly streams: readonly { readonly group: string | undefined; readonly priority: number; readonly topic: string }[];
  readonly data: ArrayBuffer;
  readonly meta: ArrayBuffer;
  readonly notes: readonly (readonly [number, string])[];
  readonly bytes: number;
}

export type FromWorker =
  | { readonly t: "opened"; readonly member: number }
  | { readonly t: "refused"; readonly failure: Failure }
  | { readonly t: "answer"; readonly id: number; readonly value: unknown }
  | { readonly t: "failed"; readonly id: number; readonly failure: Failure }
  | { readonly t: "published"; readonly id: number; readonly failures: readonly (readonly [number, Failure])[] | undefined }
  /** Indices of those that were lost. */
  | { readonly t: "settled"; readonly id: number; readonly lost: readonly number[] | undefined }
  | Deliver
  | { readonly t: "gap"; readonly sub: number; readonly count: number | undefined; readonly reason: string }
  | { readonly t: "ended"; readonly sub: number; readonly failure: Failure }
  | { readonly t: "broken"; readonly failure: Failure }
  | { readonly t: "mended" }
  | { readonly t: "outbox" }
  | { readonly t: "many"; readonly messages: readonly FromWorker[] };

export type { Message };
