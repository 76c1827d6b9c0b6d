import { compilePattern } from "../pattern.ts";
import type { Subscriber } from "./push-subscriber.ts";

/** Who is there for a topic: each reader gets a message, and of each group one member. */
export interface Route {
  readonly readers: Subscriber[];
  readonly groups: { readonly name: string; readonly members: Subscriber[]; turn: number }[];
}

export interface Routes {
  of(topic: string): Route;
  add(subscriber: Subscriber): void;
  /** Harmless if it is not there. */
  remove(subscriber: Subscriber): void;
}

/** Topics are names that anybody may make up: what is known of them is forgotten now and then. */
const maxKnown = 10_000;

export function createRoutes(): Routes {
  const all = new Map<Subscriber, (topic: string) => boolean>();
  let known = new Map<string, Route>();

  function find(topic: string): Route {
    const route: Route = { readers: [], groups: [] };
    for (const [subscriber, matches] of all) {
      if (!matches(topic)) continue;
      const { group } = subscriber;
      const its = route.groups.find(({ name }) => name === group);
      if (group === undefined) route.readers.push(subscriber);
      else if (its === undefined) route.groups.push({ name: group, members: [subscriber], turn: 0 });
      else its.members.push(subscriber);
    }
    return route;
  }

  return {
    of(topic) {
      let route = known.get(topic);
      if (route === undefined) {
        if (known.size >= maxKnown) known = new Map();
        route = find(topic);
        known.set(topic, route);
      }
      return route;
    },
    add(subscriber) {
      const { topic, pattern } = subscriber;
      all.set(subscriber, pattern === undefined ? (name) => name === topic : compilePattern(pattern));
      known = new Map();
    },
    remove(subscriber) {
      if (all.delete(subscriber)) known = new Map();
    },
  };
}
