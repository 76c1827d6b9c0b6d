import { checkOptions, WaybillError, type Message, type ObjectSpec } from "@waybill/core";
import { logTopicOf, maxTopicLength } from "../wire/names.ts";

/** Kafka's own publish options. */
export interface KafkaPublishNative {
  /** Instead of the one that the key chooses. */
  readonly partition?: number;
}

const spec: ObjectSpec = { partition: { type: "integer", min: 0 } };

/** Why a message cannot be carried at all, whatever the broker says; undefined: it can. */
export function refusalOf(message: Message, maxBodyBytes: number): WaybillError | undefined {
  const { id, body, topic, priority, native, key, headers, correlationId, replyTo } = message;
  if (body !== null && !(body instanceof Uint8Array)) {
    return new WaybillError("CONFIG", `body of a message for topic "${topic}": expected bytes or null`);
  }
  if (body !== null && body.length > maxBodyBytes) {
    return new WaybillError("TOO_LARGE", `a body of ${body.length} bytes for topic "${topic}": at most ${maxBodyBytes}`);
  }
  if (priority !== undefined) return new WaybillError("CAPABILITY", "priority: a log is read in its order");
  if (!id.isWellFormed()) return broken(topic, "its id");
  if (key !== undefined && !key.isWellFormed()) return broken(topic, "its key");
  if (correlationId !== undefined && !correlationId.isWellFormed()) return broken(topic, "its correlation id");
  if (replyTo !== undefined && !replyTo.isWellFormed()) return broken(topic, "its reply address");
  for (const name in headers) if (!(headers[name] as string).isWellFormed()) return broken(topic, "a header");
  if (logTopicOf(message).length > maxTopicLength) {
    return new WaybillError("NAME", `topic "${topic}": its name in Kafka would have more than ${maxTopicLength} characters`);
  }
  if (native !== undefined && checkOptions(native, spec, "native").length > 0) {
    return new WaybillError("CONFIG", "native: expected { partition } with a number from 0 up");
  }
  return undefined;
}

function broken(topic: string, what: string): WaybillError {
  return new WaybillError("CONFIG", `a message for topic "${topic}": ${what} has half a surrogate pair, which no UTF-8 can hold`);
}
