import type { WaybillError } from "./errors.ts";

/** Thrown by `run` when the store or the transport failed and the handler did not: the attempt is not counted. */
export class Postponed {
  readonly cause: WaybillError;
  constructor(cause: WaybillError) {
    this.cause = cause;
  }
}

/** Never throws: what a handler throws may be a Proxy that does when it is asked for its class. */
export function isPostponed(thrown: unknown): thrown is Postponed {
  try {
    return thrown instanceof Postponed;
  } catch {
    return false;
  }
}

/** Thrown by `run` when the delivery was found to be a repeat, or is settled already by its transaction. */
export const alreadyApplied: unique symbol = Symbol("already applied");
export const settledByTransaction: unique symbol = Symbol("settled by transaction");
/** Thrown by `run` when the delivery was found to be another member's, or nobody's, by now: nothing of it is settled. */
export const lostMeanwhile: unique symbol = Symbol("lost meanwhile");
/** Thrown by `run` when it had waited behind others for longer than it is worth anything. */
export const expiredMeanwhile: unique symbol = Symbol("expired meanwhile");
