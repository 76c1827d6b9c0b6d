import {
  isWaybillError,
  WaybillError,
  type ConnectOptions,
  type Inspection,
  type Message,
  type SubscribeRequest,
  type Subscription,
  type Transport,
  type TransportStatus,
} from "@waybill/core";
import type { ChannelModel } from "amqplib";
import type { Attached } from "./attached.ts";
import { capabilitiesOf } from "./capabilities.ts";
import { aborted } from "./deadline.ts";
import { createFacade } from "./facade.ts";
import { createGroup } from "./group.ts";
import { createInbox } from "./inbox.ts";
import type { Link } from "./link.ts";
import { namesOf, queueName } from "./names.ts";
import { readSubscribeNative, type PublishNative, type SubscribeNative } from "./native.ts";
import { readOptions, type RabbitmqOptions } from "./options.ts";
import { createPublisher } from "./publisher.ts";
import { createReader } from "./reader.ts";
import { checkRequest } from "./request.ts";
import { createSession, type Session } from "./session.ts";
import { createTopology } from "./topology.ts";
import { startWatch, type Watch } from "./watch.ts";

/** The client's own connections: another pair after each time that they were lost. */
export interface RabbitmqClient {
  readonly publish: ChannelModel | undefined;
  readonly consume: ChannelModel | undefined;
}
export type RabbitmqTransport = Transport<PublishNative, SubscribeNative> & { readonly client: RabbitmqClient };

/** RabbitMQ 3.10 and later, by AMQP 0-9-1. @throws `CONFIG`, one error that lists every wrong option. */
export function rabbitmq(options: RabbitmqOptions = {}): RabbitmqTransport {
  const settings = readOptions(options);
  const names = namesOf(settings.exchange);
  const attached = new Set<Attached>();
  let state: "new" | "connecting" | "up" | "down" | "closed" = "new";
  let onStatus: ConnectOptions["onStatus"] = () => undefined;
  let told: TransportStatus | undefined;
  let generation = 0;
  let watch: Watch | undefined;
  const nextGeneration = (): number => (generation += 1);

  const topology = createTopology({ settings, names, link: () => consuming.link });
  const publisher = createPublisher({ settings, names, topology, blocked: () => publishing.blocked });

  const consuming: Session = createSession({
    settings,
    role: "consume",
    async onUp(link) {
      topology.forget();
      await topology.base();
      for (const each of attached) await resume(each, link);
    },
    onReady: () => found(),
    onDown(reason) {
      for (const each of attached) each.down(reason);
      lost(reason);
    },
    onTry: () => tell("connecting"),
    onFailedTry: (reason) => tell("disconnected", reason),
    onBlocked: () => undefined,
  });
  const publishing: Session = createSession({
    settings,
    role: "publish",
    async onUp(link) {
      await publisher.up(link);
    },
    onReady: () => found(),
    onDown(reason) {
      publisher.down(reason);
      lost(reason);
    },
    onTry: () => tell("connecting"),
    onFailedTry: (reason) => tell("disconnected", reason),
    onBlocked: () => publisher.unblocked(),
  });

  function tell(status: TransportStatus, reason?: WaybillError): void {
    if (state === "closed" && status !== "closed") return;
    if (status === told && reason === undefined) return;
    told = status;
    onStatus(status, reason);
  }

  function lost(reason: WaybillError): void {
    if (state === "up") state = "down";
    tell("disconnected", reason);
  }

  /** Both are there. */
  function found(): void {
    if ((state !== "down" && state !== "connecting") || consuming.link === undefined || publishing.link === undefined) return;
    state = "up";
    tell("connected");
  }

  async function resume(each: Attached, link: Link): Promise<void> {
    try {
      await each.up(link);
    } catch (error) {
      // What is wrong with one subscription is not wrong with the connection, unless that is what was lost.
      if (!link.isOpen) throw error;
      each.fail(isWaybillError(error) ? error : new WaybillError("TRANSPORT", "the subscription could not go on", { cause: error }));
    }
  }

  async function connect(given: ConnectOptions): Promise<void> {
    if (state !== "new") throw new WaybillError("CLOSED", "connect: a transport is connected once");
    if (given.signal.aborted) throw aborted();
    ({ onStatus } = given);
    state = "connecting";
    tell("connecting");
    try {
      if (consuming.link === undefined) await consuming.open(given.signal);
      if (publishing.link === undefined) await publishing.open(given.signal);
      if (consuming.link === undefined || publishing.link === undefined)
        throw new WaybillError("CONNECTION", "the connection was lost while it was made ready");
    } catch (error) {
      const reason = isWaybillError(error) ? error : new WaybillError("CONNECTION", "the broker cannot be reached", { cause: error });
      if ((state as string) === "closed") throw new WaybillError("CLOSED", "the transport was closed");
      state = "new";
      await Promise.all([consuming.drop(), publishing.drop()]);
      tell("disconnected", reason);
      throw reason;
    }
    watch = startWatch({ everyMs: settings.watchMs, topology, attached, isUp: () => state === "up" });
  }

  async function close(): Promise<void> {
    if (state === "closed") return;
    state = "closed";
    watch?.stop();
    await Promise.all([...attached].map((each) => each.subscription[Symbol.asyncDispose]()));
    publisher.close();
    await topology.close();
    await Promise.all([consuming.close(), publishing.close()]);
    tell("closed");
  }

  function mustBeUp(signal?: AbortSignal): Link {
    if (signal?.aborted === true) throw aborted();
    if (state === "closed") throw new WaybillError("CLOSED", "the transport is closed");
    const { link } = consuming;
    if (state !== "up" || link === undefined) throw new WaybillError("CONNECTION", "the broker cannot be reached");
    return link;
  }

  const ended = (each: Attached): void => void attached.delete(each);

  async function subscribe(request: SubscribeRequest): Promise<Subscription> {
    checkRequest(request, settings);
    const native = readSubscribeNative(request.native);
    mustBeUp(request.signal);
    const shared = { request, native, settings, names, nextGeneration, ended };
    const made = request.inbox
      ? createInbox({ request, settings, nextGeneration, ended })
      : request.group === undefined
        ? createReader(shared)
        : createGroup({ ...shared, topology, publisher });
    const dispose = (): Promise<void> => Promise.resolve(made.subscription[Symbol.asyncDispose]());
    const gaveUp = Promise.withResolvers<never>();
    const onAbort = (): void => gaveUp.reject(aborted());
    request.signal.addEventListener("abort", onAbort, { once: true });
    gaveUp.promise.catch(() => undefined);
    attached.add(made);
    // No closure here may hold on to the connection: whoever keeps an ended subscription would keep all of it.
    const ready = made.up(mustBeUp());
    try {
      await Promise.race([ready, gaveUp.promise]);
    } catch (error) {
      attached.delete(made);
      void ready.then(dispose, dispose);
      throw error;
    } finally {
      request.signal.removeEventListener("abort", onAbort);
    }
    return createFacade(made.subscription);
  }

  async function inspect(topic: string, group: string): Promise<Inspection> {
    mustBeUp();
    const queue = queueName(group, topic);
    const seen = await topology.look(queue);
    const unknown = { unknown: "AMQP tells only what waits in the queue" };
    if (seen === undefined) return { depth: 0, inFlight: 0, lagMessages: 0, oldestAgeMs: 0, consumers: [] };
    return {
      // With nobody attached nothing is in anybody's hands.
      depth: seen.consumerCount === 0 ? seen.messageCount : unknown,
      inFlight: seen.consumerCount === 0 ? 0 : unknown,
      lagMessages: [...attached].reduce((sum, each) => sum + each.waitingOf(queue), seen.messageCount),
      oldestAgeMs: seen.messageCount === 0 && seen.consumerCount === 0 ? 0 : unknown,
      consumers: Array.from({ length: seen.consumerCount }, (_, index) => ({
        id: `consumer ${index + 1} of ${seen.consumerCount}`,
        inFlight: unknown,
      })),
    };
  }

  const client: RabbitmqClient = {
    get publish() {
      return publishing.link?.model;
    },
    get consume() {
      return consuming.link?.model;
    },
  };
  return {
    name: "rabbitmq",
    client,
    lanes: { of: oneLane, batches: 8, maxMessages: 250, maxBytes: 1024 * 1024 },
    capabilities: (topic) => capabilitiesOf(settings, topic),
    connect,
    close,
    publish: (messages, { signal, tx }) => {
      if (tx !== undefined) return Promise.reject(new WaybillError("CAPABILITY", "transaction: rabbitmq has none"));
      return publisher.publish(messages, signal);
    },
    subscribe,
    inspect,
    async declare(wanted) {
      mustBeUp();
      return topology.declare(wanted);
    },
    async check(wanted) {
      mustBeUp();
      return topology.check(wanted);
    },
  };
}

/** A channel keeps the order of what is written to it. */
function oneLane(_message: Message): string {
  return "";
}
