import { WaybillError } from "../errors.ts";
import type { Message } from "../transport.ts";
import { createInboxes } from "./inbox.ts";
import type { Settings } from "./options.ts";
import { outcomesOf } from "./outcomes.ts";
import { pushCapabilities } from "./push-capabilities.ts";
import { createRoutes, type Route } from "./push-routes.ts";
import { createSubscriber, type Subscriber } from "./push-subscriber.ts";
import { cannot, checkRequest, refusalOf } from "./refusal.ts";
import type { Shape } from "./shape.ts";

/** A push: a message goes to whoever is there now. Nothing is kept for anybody, nothing comes twice, and what is lost is counted. */
export function createPushShape(settings: Settings): Shape {
  const routes = createRoutes();
  const inboxes = createInboxes<{ subscriber: Subscriber | undefined }>(() => ({ subscriber: undefined }));
  const woken = new Set<Subscriber>();
  let unheard = 0;

  function refuse(message: Message): WaybillError | undefined {
    const refused = refusalOf(message, settings);
    if (refused !== undefined) return refused;
    if (message.group !== undefined) return cannot("group", "a push keeps nothing for a group");
    if (message.deliverAt !== undefined) return cannot("delay", "a push keeps nothing");
    if (message.priority !== undefined) return cannot("priority", "a push delivers as it comes");
    return undefined;
  }

  /** The error of a message that asked to be told; otherwise that nobody is there is fine, and counted. */
  function deliver(message: Message): WaybillError | undefined {
    if (inboxes.owns(message.topic)) return deliverReply(message);
    const route = routes.of(message.topic);
    if (route.readers.length === 0 && route.groups.length === 0) {
      if (message.replyTo !== undefined) return new WaybillError("NO_RESPONDERS", `nobody is subscribed to "${message.topic}"`);
      if (message.mandatory) return new WaybillError("UNROUTABLE", `nobody is subscribed to "${message.topic}"`);
      unheard += 1;
      return undefined;
    }
    offerTo(route, message);
    return undefined;
  }

  function deliverReply(message: Message): WaybillError | undefined {
    const subscriber = inboxes.find(message.topic)?.subscriber;
    if (subscriber === undefined) return new WaybillError("NO_RESPONDERS", "the inbox of the reply is gone");
    offer(subscriber, message);
    return undefined;
  }

  function offerTo({ readers, groups }: Route, message: Message): void {
    for (const reader of readers) offer(reader, message);
    for (const group of groups) {
      group.turn += 1;
      const inTurn = group.members[group.turn % group.members.length] as Subscriber;
      offer(inTurn.hasRoom() ? inTurn : (group.members.find((member) => member.hasRoom()) ?? inTurn), message);
    }
  }

  function offer(subscriber: Subscriber, message: Message): void {
    subscriber.offer(message);
    woken.add(subscriber);
  }

  return {
    capabilities: pushCapabilities(settings),
    publish(messages) {
      const outcomes = outcomesOf(messages, (message) => refuse(message) ?? deliver(message));
      for (const subscriber of woken) subscriber.wake();
      woken.clear();
      return outcomes;
    },
    attach(request, port) {
      checkRequest(request, settings);
      if (request.from !== "latest") throw cannot("from", "a push keeps nothing: start at latest");
      if (request.order === "key") throw cannot("order", "a push holds no message back for another");
      const address = request.inbox ? inboxes.open() : undefined;
      const inbox = address === undefined ? undefined : inboxes.find(address);
      const subscriber: Subscriber = createSubscriber(settings, request, port, address, {
        enter() {
          if (inbox === undefined) routes.add(subscriber);
          else inbox.subscriber = subscriber;
        },
        leave() {
          routes.remove(subscriber);
          if (inbox !== undefined) inbox.subscriber = undefined;
        },
        end: () => address !== undefined && inboxes.close(address),
      });
      subscriber.resume();
      return subscriber;
    },
    unheard: () => unheard,
    // Its buffers are small, and what they do not hold is dropped.
    isBehind: () => false,
  };
}
