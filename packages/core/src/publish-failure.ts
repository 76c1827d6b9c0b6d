import { WaybillError } from "./errors.ts";
import type { Entry } from "./publish-lane.ts";

/** That nobody replies is for the caller to wait out, not for the lane. */
export function worthAgain({ code, retryable }: WaybillError): boolean {
  return retryable && code !== "NO_RESPONDERS";
}

/** A later definite failure does not undo an earlier try that may have gone through. */
export function lastFailure(entry: Entry, error: WaybillError): WaybillError {
  if (!entry.maybeSent || error.certainty !== "definite") return error;
  return new WaybillError(error.code, `${error.message} (an earlier try of "${entry.message.topic}" may have gone through)`, {
    certainty: "indefinite",
    cause: error,
  });
}

export function timedOut(entry: Entry, timeoutMs: number): WaybillError {
  const certainty = entry.maybeSent ? "indefinite" : "definite";
  const text = `no confirm for topic "${entry.message.topic}" within ${timeoutMs} ms`;
  return new WaybillError("PUBLISH_TIMEOUT", text, { certainty, cause: entry.lastError });
}

export function aborted(certainty: "definite" | "indefinite"): WaybillError {
  return new WaybillError("ABORTED", "the caller's signal fired", { certainty });
}

export function closedUnconfirmed({ inFlight, maybeSent }: Entry): WaybillError {
  const certainty = inFlight || maybeSent ? "indefinite" : "definite";
  return new WaybillError("CLOSED", "closed before its confirm came", { certainty });
}
