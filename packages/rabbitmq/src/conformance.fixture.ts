import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import type { BrokerName, BrokerNode, RunningBroker } from "@waybill/brokers";
import { startProxy, type Broker, type ConformanceTarget, type Foreign, type Json } from "@waybill/conformance";
import type { Transport } from "@waybill/core";
import { connect } from "amqplib";
import { namesOf, queueName } from "./names.ts";
import type { QueueOptions } from "./options.ts";
import { rabbitmq, type RabbitmqClient } from "./transport.ts";

/** Two to three heartbeats of 5 s. */
const heartbeat = "5s";
const noticesWithinMs = 16_000;

interface Shared {
  readonly server: Promise<RunningBroker>;
  users: number;
}

/** A target on a real server, one for all brokers of this process: each broker is a virtual host of its own, behind its own proxy. */
export function rabbitmqTarget(name: string, brokerName: BrokerName, queue: QueueOptions): ConformanceTarget {
  let shared: Shared | undefined;

  async function take(): Promise<RunningBroker> {
    shared ??= { server: import("@waybill/brokers").then(({ startBroker }) => startBroker(brokerName)), users: 0 };
    shared.users += 1;
    return shared.server;
  }

  async function giveBack(): Promise<void> {
    if (shared === undefined) return;
    shared.users -= 1;
    if (shared.users > 0) return;
    const { server } = shared;
    shared = undefined;
    await (await server)[Symbol.asyncDispose]();
  }

  return {
    name,
    processes: true,
    async start(): Promise<Broker> {
      const server = await take();
      const vhost = `c-${randomBytes(6).toString("hex")}`;
      await manage(server, "PUT", `vhosts/${vhost}`);
      await manage(server, "PUT", `permissions/${vhost}/guest`, { configure: ".*", write: ".*", read: ".*" });
      const { host, port } = server;
      const proxy = await startProxy({ host, port });
      const direct = `amqp://guest:guest@${host}:${port}/${vhost}`;
      const [node] = server.nodes;
      if (node === undefined) throw new Error("a broker without a node");
      const { mine } = server;
      return {
        connection: `amqp://guest:guest@${proxy.host}:${proxy.port}/${vhost}`,
        version: server.version,
        borrowed: !mine,
        foreign: foreignTo(direct),
        faults: {
          network: {
            traffic: () => proxy.traffic(),
            cut: () => proxy.cut(),
            cutAfter: (bytes, direction) => proxy.cutAfter(bytes, direction),
            blackHole: (direction) => proxy.blackHole(direction),
            latency: (delayMs) => proxy.latency(delayMs),
            slice: (bytes) => proxy.slice(bytes),
            refuse: () => proxy.refuse(),
            heal: () => proxy.heal(),
            direct,
            noticesWithinMs,
          },
          wipe: (topic, group) => wipe(direct, topic, group),
          crash: (transport) => crash(transport),
          ...(mine
            ? {
                block: () => node.pause(),
                unblock: () => node.resume(),
                pause: () => node.pause(),
                resume: () => node.resume(),
                stop: () => node.stop(),
                start: () => node.start(),
                kill: () => killSettled(node),
              }
            : {}),
        },
        async [Symbol.asyncDispose]() {
          if (mine) node.resume();
          await proxy.close();
          // A server of ours goes with all that is in it.
          if (!mine) await manage(server, "DELETE", `vhosts/${vhost}`).catch(() => undefined);
          await giveBack();
        },
      };
    },
    open: (connection: Json) => rabbitmq({ url: connection as string, heartbeat, queue, watchEvery: "1s" }),
  };
}

/**
 * A server that is killed within a second of declaring a quorum queue has the queue afterwards and cannot bring it up (seen on 3.10
 * and 4.0): it writes down where the queue's log is only now and then. Traffic goes on meanwhile.
 */
async function killSettled(node: BrokerNode): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  await node.kill();
}

async function manage(server: RunningBroker, method: string, path: string, body?: Json): Promise<void> {
  const port = server.nodes[0]?.ports["management"];
  const response = await fetch(`http://${server.host}:${port ?? 15672}/api/${path}`, {
    method,
    headers: { authorization: `Basic ${Buffer.from("guest:guest").toString("base64")}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(30_000),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status}`);
}

async function wipe(url: string, topic: string, group: string): Promise<void> {
  const model = await connect(url);
  try {
    await (await model.createChannel()).deleteQueue(queueName(group, topic));
  } finally {
    await model.close();
  }
}

/** Its sockets are gone as by the end of its process, and it never learns. */
function crash({ client }: Transport): void {
  const { publish, consume } = client as RabbitmqClient;
  for (const model of [publish, consume]) {
    if (model === undefined) continue;
    const connection = model.connection as unknown as { readonly stream: Duplex; readonly heartbeater: { clear(): void } | null };
    connection.heartbeater?.clear();
    const { stream } = connection;
    stream.removeAllListeners();
    stream.on("error", () => undefined);
    stream.destroy();
    stream.write = () => true;
    stream.end = () => stream;
  }
}

function foreignTo(url: string): Foreign {
  const { exchange } = namesOf("waybill");
  return {
    async publish(topic, body) {
      const model = await connect(url);
      const channel = await model.createConfirmChannel();
      channel.publish(exchange, topic, Buffer.from(body), { persistent: true });
      await channel.waitForConfirms();
      await model.close();
    },
    async read(topic) {
      const model = await connect(url);
      const channel = await model.createChannel();
      const { queue } = await channel.assertQueue("", { exclusive: true });
      await channel.bindQueue(queue, exchange, topic);
      return {
        async next() {
          for (;;) {
            const message = await channel.get(queue, { noAck: true });
            if (message === false) {
              await new Promise((resolve) => setTimeout(resolve, 5));
              continue;
            }
            const { headers = {}, ...properties } = message.properties;
            const all = Object.entries({ ...headers, ...properties }).filter(([, value]) => value !== undefined);
            return { body: message.content, headers: Object.fromEntries(all.map(([key, value]) => [key, String(value)])) };
          }
        },
        close: () => model.close(),
      };
    },
  };
}
