import { Admin } from "@platformatic/kafka";
import {
  systemClock,
  WaybillError,
  type Capabilities,
  type ConnectOptions,
  type Message,
  type PublishOptions,
  type PublishOutcome,
  type Transport,
} from "@waybill/core";
import { capabilitiesOf } from "./capabilities.ts";
import { createConsumers, type Consumers } from "./consume/index.ts";
import { readOptions, type KafkaOptions } from "./options.ts";
import { createPublish, lanesOf, type Publish } from "./publish/publish.ts";
import type { KafkaPublishNative } from "./publish/refusal.ts";
import { openCluster } from "./session/cluster.ts";
import { adminOptions } from "./session/connections.ts";
import type { KafkaSession } from "./session/session.ts";
import { check, declare } from "./topics/topology.ts";
import { createTransactions, type Transactions } from "./transactions/transactions.ts";

export type KafkaTransport = Transport<KafkaPublishNative, undefined>;

interface Open {
  readonly session: KafkaSession;
  readonly consumers: Consumers;
  readonly publish: Publish;
  readonly transactions: Transactions;
  readonly onStatus: ConnectOptions["onStatus"];
}

/** How long members may take to leave. */
const leaveMs = 4_000;

/** A transport on Kafka 3.2 or newer, not yet connected. @throws `CONFIG` */
export function kafka(options: KafkaOptions = {}): KafkaTransport {
  const settings = readOptions(options);
  const clock = systemClock;
  const atMost = capabilitiesOf(settings.maxBodyBytes ?? 1_000_000, "D3");
  const known = new Map<string, Capabilities>();
  let open: Open | undefined;
  let closed = false;
  let admin: Admin | undefined;

  async function connect({ signal, onStatus }: ConnectOptions): Promise<void> {
    if (closed) throw new WaybillError("CLOSED", "the transport is closed");
    if (open !== undefined) throw new WaybillError("CONFIG", "the transport is connected already");
    const cluster = await openCluster(settings, clock, { signal, onStatus });
    if (closed) {
      await cluster.close();
      throw new WaybillError("CLOSED", "the transport is closed");
    }
    const publish = createPublish(cluster);
    const session: KafkaSession = {
      ...cluster,
      publish: (messages, stop) => publish(messages, stop === undefined ? [] : [stop]),
    };
    open = { session, consumers: createConsumers(session), publish, transactions: createTransactions(session), onStatus };
  }

  async function close(): Promise<void> {
    closed = true;
    const was = open;
    open = undefined;
    await admin?.close().catch(() => undefined);
    if (was === undefined) return;
    const { session, consumers } = was;
    await Promise.race([consumers.close().catch(() => undefined), session.pause(leaveMs)]);
    await session.close();
    was.onStatus("closed");
  }

  function reach(): Open {
    if (closed) throw new WaybillError("CLOSED", "the transport is closed");
    if (open === undefined) throw new WaybillError("NOT_STARTED", "the transport is not connected");
    return open;
  }

  /** Of a topic that is known already its own replicas count, else what the brokers give to a new one. */
  function capabilities(topic?: string): Capabilities {
    if (open === undefined) return atMost;
    const { limits, knownTopic } = open.session;
    const replicas = topic === undefined ? undefined : knownTopic(topic)?.partitions[0]?.replicas.length;
    const durability = limits.durability(replicas);
    let found = known.get(durability);
    if (found === undefined) known.set(durability, (found = capabilitiesOf(limits.maxBodyBytes, durability)));
    return found;
  }

  async function publish(messages: readonly Message[], { signal, tx }: PublishOptions): Promise<readonly PublishOutcome[]> {
    if (closed || open === undefined) return refuseAll(messages.length, closed);
    if (tx !== undefined) {
      const answer = open.transactions.publish(tx, messages, signal);
      if (answer === undefined) throw new WaybillError("CAPABILITY", "the transaction is not of this transport");
      return answer;
    }
    return open.publish(messages, [signal]);
  }

  return {
    name: "kafka",
    get client() {
      return (admin ??= new Admin(adminOptions(settings)));
    },
    lanes: lanesOf(settings),
    capabilities,
    connect,
    close,
    publish,
    async subscribe(request) {
      if (request.native !== undefined) throw new WaybillError("CONFIG", "native: Kafka has no subscribe options of its own");
      return reach().consumers.subscribe(request);
    },
    inspect: async (topic, group) => reach().consumers.inspect(topic, group),
    begin: async ({ signal }) => reach().transactions.begin(signal),
    declare: async (topology) => declare(reach().session, topology),
    check: async (topology) => check(reach().session, topology),
    browse: async (request) => reach().consumers.browse(request),
    seek: async (topic, group, to) => reach().consumers.seek(topic, group, to),
  };
}

function refuseAll(count: number, closed: boolean): readonly PublishOutcome[] {
  const error = closed
    ? new WaybillError("CLOSED", "the transport is closed")
    : new WaybillError("NOT_STARTED", "the transport is not connected");
  return Array.from({ length: count }, () => ({ ok: false, error }));
}
