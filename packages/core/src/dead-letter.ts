import type { DeadLetterCause } from "./dead-letter-types.ts";
import { deadLetterGroup, type Headers, type Message } from "./transport.ts";

/** The cause of a dead letter travels in these; `docs/wire.md` lists them. */
export const causeHeaders = {
  code: "waybill-dead-code",
  text: "waybill-dead-text",
  attempts: "waybill-dead-attempts",
  topic: "waybill-dead-topic",
  group: "waybill-dead-group",
  position: "waybill-dead-position",
  firstFailureAt: "waybill-dead-first-failure",
  lastFailureAt: "waybill-dead-last-failure",
} as const;

/** Where the dead letters of a group of a topic are kept. */
export function deadLetterTopic(topic: string, group: string): string {
  return `dead-letters.${group}.${topic}`;
}

/** Headers with the cause added; all that was there stays, the trace among it. */
export function withCause(headers: Headers, cause: DeadLetterCause): Headers {
  const all = plainHeaders(headers);
  for (const [field, name] of Object.entries(causeHeaders)) {
    const value = cause[field as keyof DeadLetterCause];
    if (value !== undefined) all[name] = headerText(String(value));
  }
  return all;
}

/** The cause as its headers tell it; what is missing or broken (it may come from outside) is empty or 0. */
export function readCause(headers: Headers): DeadLetterCause {
  const number = (name: string): number => {
    const value = Number(headers[name]);
    return Number.isSafeInteger(value) ? value : 0;
  };
  return {
    code: headers[causeHeaders.code] ?? "",
    text: headers[causeHeaders.text] ?? "",
    attempts: number(causeHeaders.attempts),
    topic: headers[causeHeaders.topic] ?? "",
    group: headers[causeHeaders.group] ?? "",
    position: headers[causeHeaders.position],
    firstFailureAt: number(causeHeaders.firstFailureAt),
    lastFailureAt: number(causeHeaders.lastFailureAt),
  };
}

/** The copy that is published where the transport cannot move a message in one step. */
export function deadLetterCopy(message: Message, topic: string, headers: Headers): Message {
  return {
    ...message,
    topic,
    group: deadLetterGroup,
    headers,
    deliverAt: undefined,
    expiresAt: undefined,
    replyTo: undefined,
    mandatory: false,
    native: undefined,
  };
}

export function withoutCause(headers: Headers): Headers {
  const rest = plainHeaders(headers);
  for (const name of Object.values(causeHeaders)) delete rest[name];
  return rest;
}

export function plainHeaders(headers: Headers): Record<string, string> {
  return Object.assign(Object.create(null) as Record<string, string>, headers);
}

/** Headers are one line of text on every broker. */
function headerText(text: string): string {
  return text.replaceAll(/[\p{Cc}\u2028\u2029]/gu, " ").toWellFormed();
}
