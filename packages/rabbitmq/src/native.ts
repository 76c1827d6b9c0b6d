import { assertOptions, WaybillError, type SpecFor } from "@waybill/core";
import { bindingSpec, type BindingOptions } from "./options.ts";

/** RabbitMQ's own publish options. */
export interface PublishNative {
  /** Instead of the one that the topic is for. It must be there. */
  readonly exchange?: string;
  readonly routingKey?: string;
  readonly mandatory?: boolean;
  /** False: it does not outlive the broker's restart, whatever its queue does. */
  readonly persistent?: boolean;
  /** As it is, in any queue. */
  readonly priority?: number;
  readonly type?: string;
  readonly appId?: string;
  /** Must be the user of the connection: the broker checks it. */
  readonly userId?: string;
  /** Further headers, of AMQP's own types, such as for an exchange of type `headers`. */
  readonly headers?: Readonly<Record<string, string | number | boolean>>;
}

/** RabbitMQ's own subscribe options. */
export interface SubscribeNative {
  /** Reads this queue, which must be there: nothing is declared and nothing bound. */
  readonly queue?: string;
  /** Further bindings of the group's or reader's queue. */
  readonly bindings?: readonly BindingOptions[];
  /** `x-priority`: members with a higher one are served first. */
  readonly consumerPriority?: number;
}

const publishSpec: SpecFor<PublishNative> = {
  exchange: { type: "string", minLength: 1, maxLength: 255 },
  routingKey: { type: "string", maxLength: 255 },
  mandatory: { type: "boolean" },
  persistent: { type: "boolean" },
  priority: { type: "integer", min: 0, max: 255 },
  type: { type: "string", maxLength: 255 },
  appId: { type: "string", maxLength: 255 },
  userId: { type: "string", maxLength: 255 },
  headers: { type: "record", of: { type: "either", of: [{ type: "string" }, { type: "number" }, { type: "boolean" }] } },
};
const subscribeSpec: SpecFor<SubscribeNative> = {
  queue: { type: "string", minLength: 1, maxLength: 255 },
  bindings: { type: "array", of: { type: "object", keys: bindingSpec } },
  consumerPriority: { type: "integer", min: -1_000, max: 1_000 },
};

/** @throws `CONFIG` */
export function readPublishNative(native: unknown): PublishNative | undefined {
  if (native === undefined) return undefined;
  assertOptions(native, publishSpec, "native");
  return native as PublishNative;
}

/** @throws `CONFIG` */
export function readSubscribeNative(native: unknown): SubscribeNative {
  if (native === undefined) return {};
  assertOptions(native, subscribeSpec, "native");
  const given = native as SubscribeNative;
  if (given.queue !== undefined && given.bindings !== undefined)
    throw new WaybillError("CONFIG", "native.bindings: expected nothing beside native.queue, which is read as it is");
  return given;
}
