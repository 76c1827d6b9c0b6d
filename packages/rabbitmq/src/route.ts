import { WaybillError, type Message } from "@waybill/core";
import { stepFor } from "./delay-steps.ts";
import { dueKeys, groupKey, maxNameBytes, type Names } from "./names.ts";
import { readPublishNative, type PublishNative } from "./native.ts";
import type { Settings } from "./options.ts";
import type { Extra } from "./properties.ts";

/** Where a message is written to, and what must be there first. */
export interface Route {
  readonly exchange: string;
  readonly routingKey: string;
  /** What nobody takes comes back. */
  readonly mandatory: boolean;
  readonly native: PublishNative | undefined;
  readonly extra: Extra;
  /** The exchange and queue of this delay. */
  readonly delayMs: number | undefined;
  /** Somebody else's exchange: if it is missing, a publish would end the channel for all others. */
  readonly foreign: string | undefined;
  /** Its queue has to be there already, since nothing comes back from a delay. */
  readonly group: { readonly group: string; readonly topic: string } | undefined;
}

const replyQueues = "amq.";

/** @throws `CAPABILITY`, `CONFIG`, `NAME`: nothing was written then. */
export function routeOf(message: Message, names: Names, settings: Settings): Route {
  const native = readPublishNative(message.native);
  const { topic, group } = message;
  const delayMs = delayOf(message, settings);
  const expirationMs = message.expiresAt === undefined || delayMs !== undefined ? undefined : message.expiresAt - Date.now();
  const extra = (more: Extra): Extra => (expirationMs === undefined ? more : { ...more, expirationMs });
  if (delayMs !== undefined && native?.exchange !== undefined)
    throw new WaybillError("CONFIG", "native.exchange: a delayed message goes to the transport's own exchange");

  if (delayMs !== undefined) {
    const routingKey = group === undefined ? dueKeys.topic(topic) : dueKeys.group(group, topic);
    return checked({
      exchange: names.delay(delayMs),
      routingKey,
      mandatory: false,
      native,
      extra: extra({ topic }),
      delayMs,
      foreign: undefined,
      group: group === undefined ? undefined : { group, topic },
    });
  }
  const plain = { native, delayMs: undefined, group: undefined };
  if (group !== undefined)
    return checked({
      ...plain,
      exchange: names.toGroup,
      routingKey: groupKey(group, topic),
      mandatory: true,
      extra: extra({ topic }),
      foreign: undefined,
    });
  // A reply: the queue of whoever asked. To the one behind direct reply-to nothing mandatory may be sent.
  if (topic.startsWith(replyQueues))
    return checked({ ...plain, exchange: "", routingKey: topic, mandatory: false, extra: extra({}), foreign: undefined });
  const route = settings.topics.get(topic);
  const foreign = native?.exchange ?? route?.exchange;
  const routingKey = native?.routingKey ?? route?.routingKey ?? topic;
  return checked({
    ...plain,
    exchange: foreign ?? names.exchange,
    routingKey,
    mandatory: message.mandatory || native?.mandatory === true || message.replyTo !== undefined,
    extra: extra(routingKey === topic ? {} : { topic }),
    foreign,
  });
}

function checked(route: Route): Route {
  if (Buffer.byteLength(route.routingKey) > maxNameBytes)
    throw new WaybillError("NAME", `a routing key of ${Buffer.byteLength(route.routingKey)} bytes: AMQP carries at most ${maxNameBytes}`);
  return route;
}

function delayOf({ deliverAt }: Message, { delayStepsMs }: Settings): number | undefined {
  if (deliverAt === undefined) return undefined;
  const left = deliverAt - Date.now();
  if (left <= 0) return undefined;
  const step = stepFor(left, delayStepsMs);
  if (step === undefined)
    throw new WaybillError("CAPABILITY", `a delay above ${delayStepsMs.at(-1)} ms: there is no queue for it (delaySteps)`);
  return step;
}
