import { isWaybillError, WaybillError, type Topology } from "@waybill/core";
import type { Channel, Replies } from "amqplib";
import { createControl } from "./control.ts";
import type { Link } from "./link.ts";
import { bindingKey, dueKeys, groupKey, maxNameBytes, queueName, type Names } from "./names.ts";
import type { BindingOptions, Settings } from "./options.ts";
import { queueArguments, streamArguments } from "./queue-arguments.ts";
import type { Route } from "./route.ts";

/** The queue of a group, as it is. */
export interface GroupQueue {
  readonly queue: string;
  /** The broker drops what has come back so often; undefined: it never does. */
  readonly deliveryLimit: number | undefined;
}

/** Makes exchanges, queues and bindings, or sees that they are there, each once a connection. */
export interface TopologyMaker {
  /** What every transport needs. */
  base(): Promise<void>;
  /** `order` undefined: as it is, if it is there. */
  group(group: string, subject: string, order: "none" | "key" | undefined, bindings?: readonly BindingOptions[]): Promise<GroupQueue>;
  step(delayMs: number): Promise<void>;
  /** What must be made before these can be written; answers those that cannot be. Undefined: nothing. */
  missing(routes: readonly (Route | undefined)[]): (() => Promise<ReadonlyMap<Route, WaybillError>>) | undefined;
  /** Undefined: it is not there. */
  look(queue: string): Promise<Replies.AssertQueue | undefined>;
  declare(topology: Topology): Promise<readonly string[]>;
  check(topology: Topology): Promise<readonly string[]>;
  /** A channel of its own for one piece of work. */
  control<T>(what: string, work: (channel: Channel) => Promise<T>): Promise<T>;
  /** It may all be gone. */
  forget(queue?: string): void;
  close(): Promise<void>;
}

export interface TopologyOptions {
  readonly settings: Settings;
  readonly names: Names;
  readonly link: () => Link | undefined;
}

/** For the queue of messages that nobody wants any more: to be looked at. */
const unheardArguments = { "x-queue-type": "classic", "x-max-length": 10_000, "x-message-ttl": 86_400_000 };
/** RabbitMQ 4 sets it where a queue says nothing. */
const limitOfFour = 20;

export function createTopology({ settings, names, link }: TopologyOptions): TopologyMaker {
  const known = new Map<string, Promise<unknown>>();
  const channels = createControl(settings, link);
  const { control, look } = channels;

  /** What failed is tried anew by the next. */
  function once<T>(key: string, make: () => Promise<T>): Promise<T> {
    let made = known.get(key) as Promise<T> | undefined;
    if (made === undefined) {
      made = make();
      known.set(key, made);
      made.catch(() => known.get(key) === made && known.delete(key));
    }
    return made;
  }

  const base = (): Promise<void> =>
    once("", async () => {
      if (!settings.declare) {
        await control(`exchange "${names.exchange}"`, (channel) => channel.checkExchange(names.exchange));
        return;
      }
      await control("the transport's exchanges", async (channel) => {
        await channel.assertExchange(names.exchange, "topic", { durable: true });
        await channel.assertExchange(names.toGroup, "topic", { durable: true });
        await channel.assertExchange(names.unheard, "fanout", { durable: true });
        await channel.assertQueue(names.unheard, { durable: true, arguments: unheardArguments });
        await channel.bindQueue(names.unheard, names.unheard, "");
        await channel.assertExchange(names.due, "topic", { durable: true, alternateExchange: names.unheard });
      });
      for (const exchange of settings.exchanges) await further(exchange);
      for (const [topic, { stream }] of settings.topics)
        if (stream !== undefined && stream !== false) await streamOf(topic, stream === true ? {} : stream);
    });

  async function further({ name, type, bindings = [], arguments: more, ...rest }: Settings["exchanges"][number]): Promise<void> {
    await control(`exchange "${name}"`, async (channel) => {
      await channel.assertExchange(name, type, { durable: true, ...rest, ...(more === undefined ? {} : { arguments: more }) });
      for (const { exchange, routingKey = "", arguments: matching } of bindings)
        await channel.bindExchange(name, exchange, routingKey, matching);
    });
  }

  async function streamOf(topic: string, options: Parameters<typeof streamArguments>[0]): Promise<void> {
    const queue = names.stream(topic);
    await control(`stream "${queue}"`, async (channel) => {
      await channel.assertQueue(queue, { durable: true, arguments: streamArguments(options) });
      await bindTopic(channel, queue, topic);
    });
  }

  /** To where the messages of the topic are published. */
  async function bindTopic(channel: Channel, queue: string, subject: string): Promise<void> {
    const route = settings.topics.get(subject);
    await channel.bindQueue(queue, route?.exchange ?? names.exchange, route?.routingKey ?? bindingKey(subject));
    await channel.bindQueue(queue, names.due, dueKeys.topic(bindingKey(subject)));
  }

  async function group(
    name: string,
    subject: string,
    order: "none" | "key" | undefined,
    bindings?: readonly BindingOptions[],
  ): Promise<GroupQueue> {
    const queue = queueName(name, subject);
    if (Buffer.byteLength(queue) + 2 > maxNameBytes)
      throw new WaybillError("NAME", `the name of queue "${queue.slice(0, 80)}…": at most ${maxNameBytes - 2} bytes`);
    if (order === undefined || !settings.declare) {
      const there = known.get(queue) ?? (await look(queue));
      if (there !== undefined) return { queue, deliveryLimit: settings.deliveryLimit };
      if (!settings.declare)
        throw new WaybillError("TOPOLOGY", `queue "${queue}" is not there`, { remedy: "declare it, or leave declare at true" });
    }
    const key = order === "key" ? `${queue} by key` : queue;
    const made = await once(key, () => make(queue, name, subject, order === "key"));
    if (bindings !== undefined && bindings.length > 0)
      await control(`the bindings of queue "${queue}"`, async (channel) => {
        for (const binding of bindings) await channel.bindQueue(queue, binding.exchange, binding.routingKey ?? "", binding.arguments);
      });
    return made;
  }

  async function make(queue: string, name: string, subject: string, keyed: boolean): Promise<GroupQueue> {
    const what = `queue "${queue}"`;
    const version = link()?.version ?? "";
    let { deliveryLimit } = settings;
    try {
      await control(what, (channel) => channel.assertQueue(queue, { durable: true, arguments: queueArguments(settings, version, keyed) }));
    } catch (error) {
      if (!isWaybillError(error, "TOPOLOGY")) throw error;
      if (deliveryLimit !== undefined || !error.message.includes("x-delivery-limit"))
        throw keyed || error.message.includes("single-active") ? otherOrder(queue, error) : error;
      // Made by an older version, or by hand: RabbitMQ 4 applies a limit of its own to it.
      deliveryLimit = limitOfFour;
    }
    await control(`the bindings of ${what}`, async (channel) => {
      await bindTopic(channel, queue, subject);
      await channel.bindQueue(queue, names.toGroup, groupKey(name, bindingKey(subject)));
      await channel.bindQueue(queue, names.due, dueKeys.group(name, bindingKey(subject)));
      await channel.bindQueue(queue, names.due, dueKeys.queue(queue));
    });
    return { queue, deliveryLimit };
  }

  const step = (delayMs: number): Promise<void> =>
    once(`delay ${delayMs}`, async () => {
      const name = names.delay(delayMs);
      await control(`the delay of ${delayMs} ms`, async (channel) => {
        await channel.assertExchange(name, "fanout", { durable: true });
        await channel.assertQueue(name, {
          durable: true,
          arguments: {
            "x-queue-type": "quorum",
            "x-message-ttl": delayMs,
            "x-dead-letter-exchange": names.due,
            // Out of the queue only when the next one has it; that wants publishes refused above a length, and there is none.
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
          },
        });
        await channel.bindQueue(name, name, "");
      });
    });

  function missing(routes: readonly (Route | undefined)[]): (() => Promise<ReadonlyMap<Route, WaybillError>>) | undefined {
    let wanted: Map<string, { readonly make: () => Promise<unknown>; readonly routes: Route[] }> | undefined;
    for (const route of routes) {
      if (route === undefined || (route.delayMs === undefined && route.foreign === undefined && route.group === undefined)) continue;
      const want = (key: string, make: () => Promise<unknown>): void => {
        if (ready.has(key)) return;
        wanted ??= new Map();
        const entry = wanted.get(key);
        if (entry === undefined) wanted.set(key, { make, routes: [route] });
        else entry.routes.push(route);
      };
      const { delayMs, foreign, group: to } = route;
      if (delayMs !== undefined) want(`delay ${delayMs}`, () => step(delayMs));
      if (foreign !== undefined && foreign !== names.exchange) want(`exchange ${foreign}`, () => exchange(foreign));
      if (to !== undefined) want(`group ${queueName(to.group, to.topic)}`, () => group(to.group, to.topic, undefined));
    }
    if (wanted === undefined) return undefined;
    const all = wanted;
    return async () => {
      const failed = new Map<Route, WaybillError>();
      for (const [key, { make: makeOne, routes: theirs }] of all) {
        try {
          await makeOne();
          ready.add(key);
        } catch (error) {
          for (const route of theirs) failed.set(route, error as WaybillError);
        }
      }
      return failed;
    };
  }
  const ready = new Set<string>();

  const exchange = (name: string): Promise<void> =>
    once(`exchange ${name}`, async () => {
      await control(`exchange "${name}"`, (channel) => channel.checkExchange(name));
    });

  async function check({ topics, groups }: Topology): Promise<readonly string[]> {
    const absent: string[] = [];
    for (const topic of topics) {
      const name = settings.topics.get(topic)?.exchange ?? names.exchange;
      const there = await exchange(name).then(
        () => true,
        (error: unknown) => {
          if (isWaybillError(error, "TOPOLOGY")) return false;
          throw error;
        },
      );
      if (!there) absent.push(`exchange ${name} of topic ${topic}`);
    }
    for (const each of groups) {
      const queue = queueName(each.group, each.topic);
      if ((await look(queue)) === undefined) absent.push(`queue ${queue} of group ${each.group} of topic ${each.topic}`);
    }
    return absent;
  }

  return {
    base,
    group,
    step,
    missing,
    look,
    control,
    check,
    async declare(topology) {
      if (!settings.declare) throw new WaybillError("CONFIG", "declare: the option declare is false");
      await base();
      const absent = await check(topology);
      for (const each of topology.groups) await group(each.group, each.topic, undefined);
      return absent;
    },
    forget(queue) {
      if (queue === undefined) {
        known.clear();
        ready.clear();
        return;
      }
      known.delete(queue);
      known.delete(`${queue} by key`);
    },
    async close() {
      await channels.close();
    },
  };
}

function otherOrder(queue: string, cause: WaybillError): WaybillError {
  return new WaybillError("CONFIG", `queue "${queue}": its group was made for another order (single active consumer)`, {
    cause,
    remedy: "all members of a group ask for the same orderBy; to change it, drain and delete the queue",
  });
}
