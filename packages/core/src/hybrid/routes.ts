import { configError, checkOptions, type ObjectSpec } from "../config.ts";
import { WaybillError } from "../errors.ts";
import { checkPattern, compilePattern, hasWildcard } from "../pattern.ts";
import type { Message, Transport } from "../transport.ts";
import { readAddress } from "./addresses.ts";
import { covers, overlaps } from "./overlap.ts";

/** A topic, a pattern of topics, or a contract, which stands for its topic. */
export type RouteMatch = string | { readonly topic: string };

export interface HybridRoute {
  readonly match: RouteMatch | readonly RouteMatch[];
  readonly transport: Transport;
}

export interface HybridOptions {
  /** The first that matches a topic has it. */
  readonly routes: readonly HybridRoute[];
  /** Has the topics that no route matches. */
  readonly fallback: Transport;
  /** That of the bus, if it has one: put before each match. */
  readonly namespace?: string;
}

/** Which of the transports has a topic. They are known by their index here; one that several routes name has one index. */
export interface Routes {
  readonly transports: readonly Transport[];
  /** Of a topic, a dead-letter topic or a reply address as `inbox.ts` writes it. */
  ofTopic(topic: string): number;
  ofMessage(message: Message): number;
  /** All that have topics of this pattern, in no order that matters. */
  ofPattern(pattern: string): readonly number[];
  /** Tells that there is such a group, so that its dead-letter topics can be read even where its name has dots. */
  learn(group: string): void;
}

const deadLetters = "dead-letters.";
/** Names that were looked up; reply addresses are not among them. */
const maxKnown = 10_000;

interface Rule {
  readonly pattern: string;
  readonly matches: (topic: string) => boolean;
  readonly index: number;
}

const transportSpec = {
  type: "shape",
  methods: ["capabilities", "connect", "close", "publish", "subscribe"],
  name: "a Transport",
  required: true,
} as const;
const hybridSpec: ObjectSpec = {
  routes: {
    type: "array",
    of: { type: "object", keys: { match: { type: "any", required: true }, transport: transportSpec } },
    minLength: 1,
    required: true,
  },
  fallback: transportSpec,
  namespace: { type: "string", minLength: 1, maxLength: 100 },
};

/** @throws `CONFIG` with every wrong path; `NAME` for a pattern that is none. */
export function readRoutes(options: HybridOptions): Routes {
  const problems = [...checkOptions(options, hybridSpec, "hybrid")];
  if (problems.length > 0) throw configError(problems);
  const namespace = options.namespace === undefined ? "" : `${options.namespace}.`;
  const transports: Transport[] = [];
  const rules: Rule[] = [];
  for (const [at, { match, transport }] of options.routes.entries()) {
    const matches = Array.isArray(match) ? (match as readonly RouteMatch[]) : [match as RouteMatch];
    if (matches.length === 0)
      throw new WaybillError("CONFIG", `hybrid.routes[${at}].match: expected at least one topic, pattern or contract`);
    for (const one of matches) {
      const pattern = namespace + topicOf(one, `hybrid.routes[${at}].match`);
      checkPattern(pattern);
      rules.push({ pattern, matches: compilePattern(pattern), index: indexOf(transport) });
    }
  }
  const fallback = indexOf(options.fallback);

  function indexOf(transport: Transport): number {
    const known = transports.indexOf(transport);
    return known === -1 ? transports.push(transport) - 1 : known;
  }

  const known = new Map<string, number>();
  const groups = new Set<string>();
  let lastTopic: string | undefined;
  let lastIndex = fallback;

  function byRule(topic: string): number {
    for (const rule of rules) if (rule.matches(topic)) return rule.index;
    return fallback;
  }

  /** `dead-letters.<group>.<topic>`: both may have dots. A group that is known decides, else the shortest that can be. */
  function originOf(topic: string): string {
    const rest = topic.slice(deadLetters.length);
    const dots: number[] = [];
    for (let dot = rest.indexOf("."); dot !== -1; dot = rest.indexOf(".", dot + 1)) dots.push(dot);
    const knownDot = dots.findLast((dot) => groups.has(rest.slice(0, dot)));
    if (knownDot !== undefined) return rest.slice(knownDot + 1);
    const shortest = dots.find((dot) => dot >= namespace.length && rest.startsWith(namespace, dot + 1)) ?? dots[0];
    return shortest === undefined ? topic : rest.slice(shortest + 1);
  }

  function lookUp(topic: string): number {
    let index = known.get(topic);
    if (index === undefined) {
      index = byRule(topic.startsWith(deadLetters) ? originOf(topic) : topic);
      if (known.size >= maxKnown) known.clear();
      known.set(topic, index);
    }
    return index;
  }

  function ofTopic(topic: string): number {
    if (topic === lastTopic) return lastIndex;
    const own = readAddress(topic);
    if (own !== undefined)
      return Math.max(
        0,
        own.findIndex((address) => address !== undefined),
      );
    lastIndex = lookUp(topic);
    lastTopic = topic;
    return lastIndex;
  }

  return {
    transports,
    ofTopic,
    ofMessage: (message) => ofTopic(message.topic),
    ofPattern(pattern) {
      if (!hasWildcard(pattern)) return [ofTopic(pattern)];
      const found = new Set<number>();
      for (const rule of rules) {
        if (overlaps(rule.pattern, pattern)) found.add(rule.index);
        if (covers(rule.pattern, pattern)) return [...found];
      }
      return [...found.add(fallback)];
    },
    learn(group) {
      if (groups.has(group) || groups.size >= maxKnown) return;
      groups.add(group);
      known.clear();
      lastTopic = undefined;
    },
  };
}

function topicOf(match: unknown, path: string): string {
  if (typeof match === "string") return match;
  const topic = typeof match === "object" && match !== null ? (match as { readonly topic?: unknown }).topic : undefined;
  if (typeof topic === "string") return topic;
  throw new WaybillError("CONFIG", `${path}: expected a topic, a pattern, a contract, or several of them`);
}
