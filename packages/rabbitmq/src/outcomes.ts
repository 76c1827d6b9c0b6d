import { isWaybillError, WaybillError, type Message, type PublishOutcome } from "@waybill/core";
import { noPriority } from "./capabilities.ts";
import { plain } from "./failures.ts";
import type { Settings } from "./options.ts";

/** Why a message was not published, or may not have been. */
export function refuseAll(messages: readonly Message[], error: WaybillError): Promise<readonly PublishOutcome[]> {
  return Promise.resolve(messages.map(() => ({ ok: false, error })));
}

export function away(): WaybillError {
  return new WaybillError("CONNECTION", "the broker cannot be reached");
}

export function definite(error: unknown): WaybillError {
  if (!isWaybillError(error)) return new WaybillError("CONNECTION", "it could not be written", { cause: plain(error) });
  if (error.certainty === "definite") return error;
  const { code, message, retryable, remedy, cause } = error;
  return new WaybillError(code, message, { retryable, remedy, cause, certainty: "definite" });
}

export function lostBy(error: unknown): WaybillError {
  return isWaybillError(error) ? error : new WaybillError("CONNECTION_LOST", "no channel to publish on", { cause: plain(error) });
}

export function unroutable({ topic, replyTo }: Message): WaybillError {
  return replyTo === undefined
    ? new WaybillError("UNROUTABLE", `no queue takes topic "${topic}"`)
    : new WaybillError("NO_RESPONDERS", `nobody replies on "${topic}"`);
}

export function tooLargeFor(size: number, topic: string, limit: number): WaybillError {
  return new WaybillError("TOO_LARGE", `a body of ${size} bytes for topic "${topic}": at most ${limit}`);
}

export function checkPriority({ priority, topic }: Message, { queueType, maxPriority }: Settings): void {
  if (priority === undefined) return;
  if (!Number.isInteger(priority) || priority < 0 || priority > 9)
    throw new WaybillError("CONFIG", `priority of a message for topic "${topic}": expected an integer from 0 to 9`);
  if (maxPriority === undefined) throw new WaybillError("CAPABILITY", noPriority(queueType));
}
