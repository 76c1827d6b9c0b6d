import { WaybillError } from "../errors.ts";
import type { Message, SubscribeRequest } from "../transport.ts";
import { weigh } from "./body.ts";
import type { Settings } from "./options.ts";

/** Why a message cannot be carried at all; undefined: it can. */
export function refusalOf({ body, topic, priority, native }: Message, settings: Settings): WaybillError | undefined {
  const bytes = weigh(body);
  if (bytes > settings.maxBodyBytes) {
    return new WaybillError("TOO_LARGE", `a body of ${bytes} bytes for topic "${topic}": at most ${settings.maxBodyBytes}`);
  }
  if (settings.encode && body !== null && !(body instanceof Uint8Array)) {
    return new WaybillError("CONFIG", `body of a message for topic "${topic}": expected bytes or null`);
  }
  if (priority !== undefined && !(Number.isInteger(priority) && priority >= 0 && priority <= 9)) {
    return new WaybillError("CONFIG", `priority of a message for topic "${topic}": expected an integer from 0 to 9`);
  }
  if (native !== undefined && settings.shape !== "log") {
    return new WaybillError("CONFIG", `native: memory() of shape ${settings.shape} has no publish options of its own`);
  }
  return undefined;
}

/** @throws `CONFIG` unless it says in one way what it wants. */
export function checkRequest({ topic, pattern, inbox, group, order, leaseMs, native }: SubscribeRequest, settings: Settings): void {
  const ways = [topic !== undefined, pattern !== undefined, inbox].filter(Boolean).length;
  if (ways !== 1) throw new WaybillError("CONFIG", "subscribe: expected exactly one of topic, pattern and inbox");
  if (inbox && group !== undefined) throw new WaybillError("CONFIG", "subscribe: an inbox has no group");
  if (order === "key" && group === undefined) throw new WaybillError("CONFIG", "subscribe: order is among the members of a group");
  if (!(leaseMs > 0)) throw new WaybillError("CONFIG", "subscribe: expected a leaseMs above 0");
  if (native !== undefined && settings.shape !== "push") {
    throw new WaybillError("CONFIG", `native: memory() of shape ${settings.shape} has no subscribe options of its own`);
  }
}

export function cannot(what: string, why: string): WaybillError {
  return new WaybillError("CAPABILITY", `${what}: ${why}`);
}
