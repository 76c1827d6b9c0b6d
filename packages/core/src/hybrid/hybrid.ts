import { WaybillError } from "../errors.ts";
import { hasWildcard } from "../pattern.ts";
import type {
  Capabilities,
  CapabilityName,
  Lanes,
  Message,
  PublishOptions,
  PublishOutcome,
  SubscribeRequest,
  Subscription,
  Topology,
  Transport,
} from "../transport.ts";
import { createAddresses, isPlain, readAddress, writeAddress } from "./addresses.ts";
import { weakest } from "./capabilities.ts";
import { createLanes } from "./lanes.ts";
import { readRoutes, type HybridOptions } from "./routes.ts";
import { createLinks } from "./status.ts";
import { merged, openParts, single } from "./subscription.ts";
import { createTransaction, hybridTransaction } from "./transaction.ts";

/**
 * A transport made of several: each topic has one of them. Dead letters and delayed copies go where their topic goes, replies
 * where their request came from. What is asked of a topic is what its transport can do; of all at once, what the weakest can.
 * @throws `CONFIG` with every wrong path, also where some take bytes and others values; `NAME`
 */
export function hybrid(options: HybridOptions): Transport {
  const routes = readRoutes(options);
  const { transports } = routes;
  const name = `hybrid(${transports.map((transport) => transport.name).join(", ")})`;
  const at = (index: number): Transport => transports[index] as Transport;
  checkBodies(transports);
  const addresses = createAddresses((index) => at(index).name, routes.ofTopic);
  const links = createLinks(transports);
  const lanes: Lanes = createLanes(routes);

  function capabilities(topic?: string): Capabilities {
    if (topic === undefined)
      return weakest(
        transports,
        transports.map((transport) => transport.capabilities()),
      );
    if (hasWildcard(topic)) {
      const some = routes.ofPattern(topic).map(at);
      return weakest(
        some,
        some.map((transport) => transport.capabilities()),
      );
    }
    const index = routes.ofTopic(topic);
    return at(index).capabilities(readAddress(topic)?.[index] ?? topic);
  }

  function publish(messages: readonly Message[], settings: PublishOptions): Promise<readonly PublishOutcome[]> {
    const first = messages[0];
    if (first === undefined) return Promise.resolve([]);
    const index = routes.ofMessage(first);
    for (const message of messages) if (routes.ofMessage(message) !== index) return publishSplit(messages, settings);
    return publishTo(index, messages, settings);
  }

  function publishTo(index: number, messages: readonly Message[], settings: PublishOptions): Promise<readonly PublishOutcome[]> {
    if (settings.tx === undefined && messages.every(isPlain)) return at(index).publish(messages, settings);
    return publishChanged(index, messages, settings);
  }

  async function publishChanged(index: number, messages: readonly Message[], settings: PublishOptions): Promise<readonly PublishOutcome[]> {
    const outcomes: PublishOutcome[] = [];
    const outward: Message[] = [];
    const places: number[] = [];
    for (const [place, message] of messages.entries()) {
      try {
        outward.push(addresses.outward(message, index));
        places.push(place);
      } catch (error) {
        outcomes[place] = { ok: false, error: error as WaybillError };
      }
    }
    if (outward.length === 0) return outcomes;
    const answers = await at(index).publish(outward, await settingsFor(index, settings));
    if (places.length === messages.length) return answers;
    places.forEach((place, answer) => (outcomes[place] = answers[answer] ?? unanswered(index)));
    return outcomes;
  }

  async function settingsFor(index: number, { signal, tx }: PublishOptions): Promise<PublishOptions> {
    const own = await hybridTransaction(tx)?.on(index);
    return own === undefined ? { signal } : { signal, tx: own };
  }

  async function publishSplit(messages: readonly Message[], settings: PublishOptions): Promise<readonly PublishOutcome[]> {
    const placesOf = new Map<number, number[]>();
    messages.forEach((message, place) => {
      const index = routes.ofMessage(message);
      const places = placesOf.get(index);
      if (places === undefined) placesOf.set(index, [place]);
      else places.push(place);
    });
    const outcomes: PublishOutcome[] = [];
    await Promise.all(
      [...placesOf].map(async ([index, places]) => {
        // What one of them throws says nothing about the messages of another.
        const answers = await publishTo(
          index,
          places.map((place) => messages[place] as Message),
          settings,
        ).catch((error: unknown) => places.map(() => ({ ok: false, error: asPublishError(at(index), error) }) as const));
        places.forEach((place, answer) => (outcomes[place] = answers[answer] ?? unanswered(index)));
      }),
    );
    return outcomes;
  }

  function unanswered(index: number): PublishOutcome {
    return { ok: false, error: new WaybillError("TRANSPORT", `${at(index).name}: no outcome for the message`) };
  }

  async function subscribe(request: SubscribeRequest): Promise<Subscription> {
    if (request.group !== undefined) routes.learn(request.group);
    if (request.inbox) return subscribeInbox(request);
    const indexes = request.topic === undefined ? routes.ofPattern(request.pattern ?? ">") : [routes.ofTopic(request.topic)];
    const only = indexes[0];
    if (indexes.length === 1 && only !== undefined) return single(await at(only).subscribe(request), only, addresses);
    if (typeof request.from === "object" && "position" in request.from) {
      throw new WaybillError(
        "CAPABILITY",
        `a position is a place on one transport, and the pattern has topics of ${indexes.map((index) => at(index).name).join(" and ")}`,
      );
    }
    return merged(await openParts(transports, indexes, request), addresses);
  }

  async function subscribeInbox(request: SubscribeRequest): Promise<Subscription> {
    const indexes = transports.flatMap((transport, index) => (transport.capabilities().inbox.level === "none" ? [] : [index]));
    if (indexes.length === 0) throw new WaybillError("CAPABILITY", `none of ${name} has an inbox`);
    const parts = await openParts(transports, indexes, request);
    const own: (string | undefined)[] = [];
    for (const { index, subscription } of parts) own[index] = subscription.address;
    return merged(parts, addresses, own.some((address) => address !== undefined) ? writeAddress(own) : undefined);
  }

  /** Each transport gets its own topics and groups; one that knows no topology is passed over. */
  async function topology(wanted: Topology, ask: "declare" | "check"): Promise<readonly string[]> {
    for (const { group } of wanted.groups) routes.learn(group);
    const answers = await Promise.all(
      transports.map(async (transport, index) => {
        const topics = wanted.topics.filter((topic) => routes.ofTopic(topic) === index);
        const groups = wanted.groups.filter(({ topic }) => routes.ofTopic(topic) === index);
        if (topics.length + groups.length === 0 || transport.capabilities().topology.level === "none") return [];
        return (await transport[ask]?.({ topics, groups })) ?? [];
      }),
    );
    return answers.flat();
  }

  function having<Face extends "inspect" | "browse" | "remove" | "seek">(face: Face, topic: string): NonNullable<Transport[Face]> {
    const transport = at(routes.ofTopic(topic));
    const found = transport[face];
    if (found === undefined) throw new WaybillError("CAPABILITY", `${transport.name} cannot do "${face}" on "${topic}"`);
    return found.bind(transport) as NonNullable<Transport[Face]>;
  }
  const some = (capability: CapabilityName): boolean =>
    transports.some((transport) => transport.capabilities()[capability].level !== "none");

  const transport: Transport = {
    name,
    client: transports.map(({ client }) => client),
    lanes,
    capabilities,
    connect: (connecting) => links.connect(connecting),
    close: () => links.close(),
    publish,
    subscribe,
  };
  if (some("transaction")) transport.begin = async ({ signal }) => createTransaction(transports, signal);
  if (some("inspect")) transport.inspect = async (topic, group) => having("inspect", topic)(topic, group);
  if (some("topology")) {
    transport.declare = (wanted) => topology(wanted, "declare");
    transport.check = (wanted) => topology(wanted, "check");
  }
  if (some("browse")) transport.browse = async (request) => having("browse", request.topic)(request);
  if (some("remove")) transport.remove = async (topic, group, positions) => having("remove", topic)(topic, group, positions);
  if (some("seek")) transport.seek = async (topic, group, to) => having("seek", topic)(topic, group, to);
  return transport;
}

function checkBodies(transports: readonly Transport[]): void {
  const bodies = transports.map((transport) => `${transport.name}: ${transport.capabilities().body}`);
  if (new Set(transports.map((transport) => transport.capabilities().body)).size === 1) return;
  throw new WaybillError("CONFIG", `hybrid: all transports must take the same kind of body (${bodies.join(", ")})`, {
    remedy: "let memory() take bytes as well: memory({ encode: true })",
  });
}

function asPublishError(transport: Transport, error: unknown): WaybillError {
  return error instanceof WaybillError ? error : new WaybillError("TRANSPORT", `${transport.name}: publish failed`, { cause: error });
}
