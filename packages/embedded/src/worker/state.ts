import type { Group } from "../sql/catalog.ts";
import type { Taker } from "../sql/lease.ts";

interface Room {
  /** See `Grant`. */
  minimum: number;
  /** Since when there is less room than that, on `performance.now()`; undefined: there is none, or enough. */
  smallSince: number | undefined;
}

/** A subscription as the worker sees it. */
export interface GroupSub extends Room {
  readonly kind: "group";
  readonly id: number;
  readonly topic: string | undefined;
  readonly pattern: string | undefined;
  readonly name: string;
  readonly taker: Taker;
  /** Messages and bytes granted, and handed out, since it began. */
  granted: number;
  grantedBytes: number;
  given: number;
  givenBytes: number;
  empty: boolean;
  groups: Group[];
  /** Something may be there for it. */
  dirty: boolean;
  /** Store time at which something parked falls due. */
  dueAt: number;
  /** Which of its groups comes first in the next fetch. */
  turn: number;
}

export interface ReaderSub extends Room {
  readonly kind: "reader";
  readonly id: number;
  readonly topic: string | undefined;
  readonly pattern: string | undefined;
  readonly inbox: boolean;
  granted: number;
  grantedBytes: number;
  given: number;
  givenBytes: number;
  empty: boolean;
  dirty: boolean;
  dueAt: number;
  /** Next offset by stream. */
  readonly next: Map<number, number>;
  /** Read already, and not due yet: in the order they fall due. */
  delayed: { readonly stream: number; readonly offset: number; readonly due: number }[];
}

export type Sub = GroupSub | ReaderSub;

export function roomOf(sub: Sub): { messages: number; bytes: number; empty: boolean } {
  return {
    messages: sub.granted - sub.given,
    bytes: sub.grantedBytes - sub.givenBytes,
    empty: sub.empty && sub.granted > sub.given,
  };
}
