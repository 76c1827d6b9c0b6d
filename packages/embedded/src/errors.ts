import { WaybillError } from "@waybill/core";
import { type Failure, failureOf, isFailed } from "./sql/failure.ts";

export function toError(failure: Failure, cause?: unknown): WaybillError {
  return new WaybillError(failure.code, failure.text, {
    ...(failure.certainty === undefined ? {} : { certainty: failure.certainty }),
    ...(failure.retryable === undefined ? {} : { retryable: failure.retryable }),
    ...(failure.remedy === undefined ? {} : { remedy: failure.remedy }),
    ...(cause === undefined ? {} : { cause }),
  });
}

/** @throws `ABORTED` */
export function mustGoOn(signal: AbortSignal, what: string): void {
  if (signal.aborted) throw new WaybillError("ABORTED", `the signal had fired before ${what}`);
}

/** Of an error that was thrown on this thread. */
export function wrap(error: unknown, covered: boolean): WaybillError {
  if (error instanceof WaybillError) return error;
  return toError(failureOf(error, covered), isFailed(error) ? undefined : error);
}
