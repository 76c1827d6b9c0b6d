import type { Message, SubscribeRequest } from "./transport.ts";

/** That never fires. */
export const never: AbortSignal = new AbortController().signal;

/** A message that asks for nothing special. */
export function messageOf(fields: Partial<Message> & Pick<Message, "id" | "topic">): Message {
  return {
    group: undefined,
    key: undefined,
    body: null,
    headers: Object.freeze(Object.create(null) as Record<string, string>),
    time: 0,
    deliverAt: undefined,
    expiresAt: undefined,
    priority: undefined,
    replyTo: undefined,
    correlationId: undefined,
    mandatory: false,
    native: undefined,
    ...fields,
  };
}

/** For "orders" and the group "billing" where nothing else is said. */
export function requestFor(fields: Partial<SubscribeRequest>): SubscribeRequest {
  return {
    topic: fields.pattern === undefined && fields.inbox !== true ? "orders" : undefined,
    pattern: undefined,
    group: fields.inbox === true ? undefined : "billing",
    from: "latest",
    credit: { messages: 100, bytes: 1_000_000 },
    leaseMs: 30_000,
    order: "none",
    inbox: false,
    native: undefined,
    signal: never,
    onEvent: () => undefined,
    ...fields,
  };
}
