import { WaybillError } from "./errors.ts";
import { safeText } from "./log.ts";

/** Of a topic, group or pattern, in characters (all of them ASCII, so bytes as well). */
export const maxNameLength = 255;

/** First tokens that belong to a broker (`amq`; everything that begins with `__`) or to Waybill itself. */
export const reservedTokens: readonly string[] = ["amq", "dead-letters", "waybill"];

export interface NameOptions {
  /** For names that the core makes itself, and for users who know what they touch. */
  readonly allowReserved?: boolean;
}

/** @throws `NAME` unless it is tokens of `A-Z a-z 0-9 _ -`, split by `.`, at most 255 characters, with no reserved first token. */
export function checkTopic(topic: string, options: NameOptions = {}): void {
  checkName(topic, "topic", options);
}

/** @throws `NAME`; the same form as a topic. */
export function checkGroup(group: string, options: NameOptions = {}): void {
  checkName(group, "group", options);
}

/** A topic in which a token may be `*` (one token) and the last one `>` (one or more). @throws `NAME` */
export function checkPattern(pattern: string): void {
  checkName(pattern, "pattern", { allowReserved: true });
}

/** Whether a well-formed pattern has a wildcard; without one it is a topic. */
export function hasWildcard(pattern: string): boolean {
  return pattern.includes("*") || pattern.endsWith(">");
}

function checkName(name: unknown, kind: "topic" | "group" | "pattern", options: NameOptions): void {
  const wrong = problemOf(name, kind === "pattern") ?? (options.allowReserved === true ? undefined : reservedBy(name as string));
  if (wrong === undefined) return;
  const shown = typeof name === "string" ? ` "${safeText(name, 80)}"` : "";
  throw new WaybillError("NAME", `${kind}${shown} ${wrong}`);
}

function problemOf(name: unknown, wildcards: boolean): string | undefined {
  if (typeof name !== "string") return "must be a string";
  if (name === "") return "is empty";
  if (name.length > maxNameLength) return `is longer than ${maxNameLength} characters`;
  let start = 0;
  for (let at = 0; at <= name.length; at++) {
    const char = name.charCodeAt(at);
    if (char === 46 /* . */ || at === name.length) {
      if (at === start) return "has an empty token";
      start = at + 1;
    } else if (!isNameChar(char)) {
      const whole = at === start && (at + 1 === name.length || name[at + 1] === ".");
      if (!wildcards || (char !== 42 /* * */ && char !== 62) /* > */) return `has a character that is not allowed at ${at}`;
      if (!whole) return `has a wildcard at ${at} that is not a token of its own`;
      if (char === 62 && at + 1 !== name.length) return "has a '>' that is not the last token";
    }
  }
  return undefined;
}

function isNameChar(char: number): boolean {
  return (char >= 97 && char <= 122) || (char >= 65 && char <= 90) || (char >= 48 && char <= 57) || char === 45 || char === 95;
}

function reservedBy(name: string): string | undefined {
  if (name.startsWith("__")) return "begins with '__', which brokers keep for themselves";
  const dot = name.indexOf(".");
  const first = (dot === -1 ? name : name.slice(0, dot)).toLowerCase();
  return reservedTokens.includes(first) ? `begins with the reserved token '${first}'` : undefined;
}

/**
 * A test for topics, compiled once. Walks the topic once, without allocation; no regular expression, so no pattern makes it slow.
 * @throws `NAME`
 */
export function compilePattern(pattern: string): (topic: string) => boolean {
  checkPattern(pattern);
  if (!hasWildcard(pattern)) return (topic) => topic === pattern;
  const tokens = pattern.split(".");
  const rest = tokens.at(-1) === ">";
  if (rest) tokens.pop();
  return (topic) => {
    let at = 0;
    for (const token of tokens) {
      if (at > topic.length) return false;
      const dot = topic.indexOf(".", at);
      const end = dot === -1 ? topic.length : dot;
      if (token === "*" ? end === at : end - at !== token.length || !topic.startsWith(token, at)) return false;
      at = end + 1;
    }
    return rest ? at < topic.length : at === topic.length + 1;
  };
}
