import { randomUUID } from "node:crypto";
import { findCoordinatorV4, type Connection } from "@platformatic/kafka";
import { WaybillError, type Clock, type ConnectOptions } from "@waybill/core";
import type { Settings } from "../options.ts";
import { placeOf, type BrokerAddress } from "./address.ts";
import { call } from "./call.ts";
import { codes } from "./codes.ts";
import { createConnections, destroy } from "./connections.ts";
import { wrap } from "./errors.ts";
import { askLimits, type Limits } from "./limits.ts";
import { createMetadata } from "./metadata.ts";
import type { Coordinator, CoordinatorKind, KafkaSession, Purpose } from "./session.ts";
import { checkVersions } from "./versions.ts";

/** The session without what publishes through it. */
export type Cluster = Omit<KafkaSession, "publish">;

const firstWaitMs = 100;
const longestWaitMs = 2_000;
const keyTypes = { group: 0, transaction: 1 } as const;

/** Resolves when a broker answers; then keeps a control connection until `close`, and tells `onStatus`. */
export async function openCluster(settings: Settings, clock: Clock, { signal, onStatus }: ConnectOptions): Promise<Cluster> {
  const ended = new AbortController();
  const connections = createConnections(settings);
  const coordinators = new Map<string, Coordinator["nodeId"]>();
  const listeners = new Set<(topic: string) => void>();
  // An unanswered question on it is a lost broker, sooner than on the others.
  const controlPurpose: Purpose = { name: "control", requestTimeoutMs: Math.min(settings.requestTimeoutMs, settings.connectTimeoutMs) };
  let control: Connection | undefined;

  const metadata = createMetadata({
    settings,
    clock,
    control: async () => {
      if (ended.signal.aborted) throw new WaybillError("CLOSED", "the transport is closed");
      if (control === undefined) throw new WaybillError("CONNECTION", "no broker can be reached");
      return control;
    },
    pause,
    created: (topic) => {
      for (const told of listeners) told(topic);
    },
  });

  function pause(delayMs: number): Promise<boolean> {
    if (ended.signal.aborted) return Promise.resolve(false);
    return new Promise((resolve) => {
      const timer = clock.after(delayMs, () => done(true));
      const stop = (): void => done(false);
      function done(goOn: boolean): void {
        timer.cancel();
        ended.signal.removeEventListener("abort", stop);
        resolve(goOn);
      }
      ended.signal.addEventListener("abort", stop, { once: true });
    });
  }

  /** Any broker will do; those that are known now before those that were named at first, in no fixed order. */
  async function openControl(isFirst: boolean): Promise<Connection> {
    const places = [...shuffled([...metadata.brokers.values()]), ...shuffled(settings.brokers)];
    let failure: unknown;
    for (const place of new Map(places.map((each) => [placeOf(each), each])).values()) {
      if (ended.signal.aborted) break;
      try {
        return await tryControl(place, isFirst);
      } catch (error) {
        // What waiting cannot mend is worth more than that another one is away.
        if (!(failure instanceof WaybillError && !failure.retryable)) failure = wrap(error, placeOf(place));
      }
    }
    throw ended.signal.aborted ? new WaybillError("CLOSED", "the transport is closed") : failure;
  }

  async function tryControl(place: BrokerAddress, isFirst: boolean): Promise<Connection> {
    const connection = await connections.open(place, controlPurpose);
    try {
      if (isFirst) await checkVersions(connection, settings.groupProtocol);
      await metadata.refresh(connection);
    } catch (error) {
      destroy(connection);
      throw error;
    }
    return connection;
  }

  /** Until close: looks whether the broker still answers, and connects again when it does not. */
  async function keep(first: Connection): Promise<void> {
    for (let connection = first; ;) {
      control = connection;
      const reason = await untilLost(connection);
      control = undefined;
      if (ended.signal.aborted) return;
      onStatus("disconnected", reason);
      const again = await comeBack();
      if (again === undefined) return;
      connection = again;
      control = again;
      onStatus("connected");
    }
  }

  async function untilLost(connection: Connection): Promise<WaybillError> {
    const lost = Promise.withResolvers<void>();
    let isLost = !connection.isConnected();
    connection.once("close", () => {
      isLost = true;
      lost.resolve();
    });
    let cause: unknown;
    while (!isLost && !ended.signal.aborted) {
      await Promise.race([lost.promise, pause(settings.watchMs)]);
      if (isLost || ended.signal.aborted) break;
      try {
        await metadata.refresh(connection);
      } catch (error) {
        cause = error;
        destroy(connection);
        break;
      }
    }
    return new WaybillError("CONNECTION_LOST", "the connection to the broker is lost", { cause });
  }

  async function comeBack(): Promise<Connection | undefined> {
    for (let waitMs = firstWaitMs; ; waitMs = Math.min(waitMs * 2, longestWaitMs)) {
      if (ended.signal.aborted) return undefined;
      onStatus("connecting");
      try {
        return await openControl(false);
      } catch (error) {
        if (ended.signal.aborted) return undefined;
        onStatus("disconnected", wrap(error));
      }
      // Spread, so that a fleet does not come back in step.
      if (!(await pause(waitMs * (0.5 + Math.random() / 2)))) return undefined;
    }
  }

  async function connectionTo(nodeId: number, purpose: Purpose): Promise<Connection> {
    if (!metadata.brokers.has(nodeId) && control !== undefined) await metadata.refresh(control);
    const place = metadata.brokers.get(nodeId);
    if (place === undefined) throw new WaybillError("CONNECTION", `broker ${nodeId} is not there`);
    return connections.open(place, purpose);
  }

  async function coordinatorOf(group: string, purpose: Purpose, kind: CoordinatorKind = "group"): Promise<Coordinator> {
    const key = `${kind} ${group}`;
    let nodeId = coordinators.get(key);
    if (nodeId === undefined) {
      if (control === undefined) throw new WaybillError("CONNECTION", "no broker can be reached");
      const { coordinators: found } = await call(findCoordinatorV4.api, control, keyTypes[kind], [group]);
      const one = found[0];
      if (one?.errorCode === codes.groupAuthorizationFailed || one?.errorCode === codes.transactionalIdAuthorizationFailed)
        throw new WaybillError("AUTH", `this user may not use the ${kind} "${group}"`);
      if (one === undefined || one.errorCode !== codes.none)
        throw new WaybillError("CONNECTION", `${kind} "${group}" has no coordinator yet (error ${one?.errorCode ?? "unknown"})`);
      nodeId = one.nodeId;
      coordinators.set(key, nodeId);
    }
    try {
      return { nodeId, connection: await connectionTo(nodeId, purpose) };
    } catch (error) {
      coordinators.delete(key);
      throw error;
    }
  }

  function close(): void {
    ended.abort();
    connections.close();
    control = undefined;
  }

  signal.addEventListener("abort", close, { once: true });
  let first: Connection;
  let limits: Limits;
  try {
    signal.throwIfAborted();
    first = await openControl(true);
    const [nodeId] = metadata.brokers.keys();
    if (nodeId === undefined) throw new WaybillError("CONNECTION", "the cluster has no brokers yet");
    limits = await askLimits(await connectionTo(nodeId, { name: "offsets" }), nodeId, settings);
  } catch (error) {
    close();
    throw signal.aborted ? new WaybillError("ABORTED", "gave up connecting", { cause: error }) : error;
  } finally {
    signal.removeEventListener("abort", close);
  }
  const kept = keep(first);
  onStatus("connected");

  return {
    settings,
    clock,
    id: randomUUID(),
    signal: ended.signal,
    limits,
    isUp: () => control !== undefined,
    metadata: (topics, options = {}) => metadata.topics(topics, options),
    knownTopic: metadata.peek,
    topicNames: () => metadata.names(),
    forgetTopic: metadata.forget,
    onTopic(told) {
      listeners.add(told);
      return () => void listeners.delete(told);
    },
    connectionTo,
    coordinatorOf,
    forgetCoordinator: (group, kind = "group") => void coordinators.delete(`${kind} ${group}`),
    release: connections.release,
    pause,
    async close() {
      close();
      await kept;
    },
  };
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, at: Math.random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
