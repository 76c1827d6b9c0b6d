import type { CapabilityName } from "@waybill/core";
import type { Covered } from "./fields.ts";
import type { Faults } from "./target.ts";
import type { Rig } from "./rig.ts";

/**
 * What a case stands on. A capability or `keeps` (durability D1 or more) that the transport does not offer is proved refused
 * instead. `store`, `processes`, `crash` (by processes or `fault:crash`), `foreign` and `fault:…` are means of the target: without
 * them the case is reported as untested.
 */
export type Need = CapabilityName | "keeps" | "store" | "processes" | "crash" | "foreign" | `fault:${keyof Faults}`;

export interface Case {
  /** Begins with its property where RELIABILITY has one: `P01 …`. */
  readonly name: string;
  readonly covers?: readonly Covered[];
  readonly needs?: readonly Need[];
  /** Why it cannot be tested with this target; undefined: it can. */
  readonly unless?: (rig: Rig) => string | undefined;
  readonly prove: (rig: Rig) => Promise<void>;
  /** Default 30 s, ten times that when `full`. */
  readonly deadlineMs?: number;
  /** It mostly waits, for processes and deadlines, on a broker of its own: a few of these may run at once. */
  readonly together?: boolean;
  /** It takes minutes: only with the larger counts, or when it is asked for by its whole name. */
  readonly long?: boolean;
}

export type Outcome = "proved" | "refused" | "failed" | "untested";

export interface CaseResult {
  readonly name: string;
  readonly outcome: Outcome;
  /** Messages that were published and followed to their end. */
  readonly checked: number;
  readonly seconds: number;
  readonly error?: unknown;
  /** Why it is untested or refused. */
  readonly why?: string;
}
