import type { CapabilityName } from "@waybill/core";
import type { Covered } from "./fields.ts";
import type { Faults } from "./target.ts";
import type { Rig } from "./rig.ts";

/**
 * What a case stands on. A capability or `keeps` (durability D1 or more) that the transport does not offer is proved refused
 * instead. `store`, `crash` (by processes or `fault:crash`) and `fault:…` are means of the target: without them the case is reported as untested.
 */
export type Need = CapabilityName | "keeps" | "store" | "crash" | `fault:${keyof Faults}`;

export interface Case {
  /** Begins with its property where RELIABILITY has one: `P01 …`. */
  readonly name: string;
  readonly covers?: readonly Covered[];
  readonly needs?: readonly Need[];
  /** Offered only if this holds too; otherwise `refuse`, or untested with this as the reason. */
  readonly unless?: (rig: Rig) => string | undefined;
  readonly prove: (rig: Rig) => Promise<void>;
  /** What is seen instead where it is not offered; default: the refusal of the first missing need. */
  readonly refuse?: (rig: Rig) => Promise<void>;
  /** Default 30 s, ten times that when `full`. */
  readonly deadlineMs?: number;
  /** Runs in another process group of cases: it loads the machine and would disturb the timing of the others. */
  readonly alone?: boolean;
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
