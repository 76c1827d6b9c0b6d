import { randomBytes } from "node:crypto";
import type { RunningBroker } from "@waybill/brokers";
import { startProxy, type Broker, type ConformanceTarget, type Foreign, type Json, type Proxy } from "@waybill/conformance";
import { Admin, Consumer, Producer } from "@platformatic/kafka";
import { kafka } from "./kafka.ts";
import type { KafkaOptions } from "./options.ts";
import { retryTopic } from "./wire/names.ts";

/** So many brokers of one process at once: each has a listener of the server, and a proxy before it, for itself. */
const listeners = 12;
/** A look at the broker each second, or a fetch that waits half a second, and then 4 s without an answer. */
const noticesWithinMs = 8_000;
const timing: KafkaOptions = { requestTimeout: "4s", connectTimeout: "3s", watchEvery: "1s" };

interface Server {
  readonly running: RunningBroker;
  /** Those that no broker uses now. */
  readonly proxies: Proxy[];
}

interface Shared {
  readonly server: Promise<Server>;
  users: number;
}

/** A target on a real server, one for all brokers of this process. Brokers share topics: the suite gives every case its own names. */
export function kafkaTarget(name: string, options: KafkaOptions): ConformanceTarget {
  let shared: Shared | undefined;

  async function take(): Promise<Server> {
    shared ??= { server: startServer(), users: 0 };
    shared.users += 1;
    return shared.server;
  }

  async function giveBack({ running, proxies }: Server, proxy: Proxy | undefined): Promise<void> {
    proxy?.heal();
    proxy?.cut();
    if (proxy !== undefined) proxies.push(proxy);
    if (shared === undefined) return;
    shared.users -= 1;
    if (shared.users > 0) return;
    shared = undefined;
    await running[Symbol.asyncDispose]();
    await Promise.all(proxies.map((each) => each.close()));
  }

  return {
    name,
    processes: true,
    async start(): Promise<Broker> {
      const server = await take();
      const { running, proxies } = server;
      const proxy = proxies.shift();
      const [node] = running.nodes;
      if (node === undefined) throw new Error("a broker without a node");
      const direct = `${running.host}:${node.ports["internal"] ?? running.port}`;
      return {
        connection: proxy === undefined ? direct : `${proxy.host}:${proxy.port}`,
        version: running.version,
        borrowed: !running.mine,
        foreign: foreignTo(direct),
        faults: {
          ...(proxy === undefined
            ? {}
            : {
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
              }),
          wipe: (topic, group) => wipe(direct, topic, group),
          ...(running.mine
            ? {
                block: () => node.pause(),
                unblock: () => node.resume(),
                pause: () => node.pause(),
                resume: () => node.resume(),
                stop: () => node.stop(),
                start: () => node.start(),
                kill: () => node.kill(),
              }
            : {}),
        },
        async [Symbol.asyncDispose]() {
          if (running.mine) node.resume();
          await giveBack(server, proxy);
        },
      };
    },
    open: (connection: Json) => kafka({ ...timing, topics: { partitions: 4 }, ...options, brokers: connection as string }),
  };
}

async function startServer(): Promise<Server> {
  const { startBroker } = await import("@waybill/brokers");
  if (process.env["WAYBILL_KAFKA_URL"] !== undefined) return { running: await startBroker("kafka"), proxies: [] };
  const proxies: Proxy[] = [];
  const running = await startBroker("kafka", {
    listeners,
    async advertise(_index, port) {
      const proxy = await startProxy({ host: "127.0.0.1", port });
      proxies.push(proxy);
      return proxy;
    },
  });
  return { running, proxies };
}

async function wipe(address: string, topic: string, group: string): Promise<void> {
  const admin = new Admin({ clientId: "wipe", bootstrapBrokers: [address] });
  try {
    const there = new Set(await admin.listTopics());
    const topics = [topic, retryTopic(topic, group)].filter((each) => there.has(each));
    await admin.deleteTopics({ topics });
    // The controller has decided it; the broker takes records until it has heard of it.
    for (const end = performance.now() + 5_000; performance.now() < end;) {
      const left = new Set(await admin.listTopics());
      if (!topics.some((each) => left.has(each))) return;
    }
    throw new Error("a deleted topic is still there");
  } finally {
    await admin.close();
  }
}

function foreignTo(address: string): Foreign {
  const bootstrapBrokers = [address];
  const clientId = `foreign-${randomBytes(4).toString("hex")}`;
  return {
    async publish(topic, body) {
      const producer = new Producer({ clientId, bootstrapBrokers, autocreateTopics: true });
      try {
        await producer.send({ messages: [{ topic, value: Buffer.from(body) }], acks: -1 });
      } finally {
        await producer.close();
      }
    },
    async read(topic) {
      const consumer = new Consumer({ clientId, bootstrapBrokers, groupId: `${clientId}-${topic}`, autocreateTopics: true });
      const stream = await consumer.consume({
        topics: [topic],
        mode: "earliest",
        fallbackMode: "earliest",
        maxWaitTime: 100,
        autocommit: false,
      });
      const messages = stream[Symbol.asyncIterator]();
      return {
        async next() {
          const { value } = await messages.next();
          if (value === undefined) throw new Error("the stream ended");
          const headers = [...value.headers].map(([key, text]): [string, string] => [String(key), String(text)]);
          return { body: value.value, headers: Object.fromEntries(headers) };
        },
        async close() {
          await stream.close();
          await consumer.close(true);
        },
      };
    },
  };
}
