import type { OrderBy } from "./bus-types.ts";
import type { Contract } from "./contract.ts";
import type { RetryPolicy } from "./retry.ts";
import type { Store } from "./store/store.ts";
import type { Credit, StartPosition } from "./transport.ts";

/** The options of a subscription, checked, with every default filled in. */
export interface Plan {
  /** Exactly one of the two, with the namespace. */
  readonly topic: string | undefined;
  readonly pattern: string | undefined;
  readonly contract: Contract | undefined;
  readonly group: string;
  /** Attempts at once. */
  readonly concurrency: number;
  /** 1 but for `subscribeBatch`. */
  readonly batchSize: number;
  readonly withinMs: number;
  readonly orderBy: OrderBy;
  readonly timeoutMs: number;
  readonly graceMs: number;
  readonly maxAbandoned: number;
  readonly retry: RetryPolicy;
  readonly from: StartPosition;
  readonly credit: Credit;
  readonly leaseMs: number;
  readonly delivery: "at-most-once" | "at-least-once";
  readonly exactlyOnce: Store | "transport" | undefined;
  readonly native: unknown;
}
