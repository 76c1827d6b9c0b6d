import { assertOptions, configError, durationMs, type Duration, type Problem, type SpecFor } from "@waybill/core";
import { parseUrl, type BrokerAddress } from "./address.ts";
import { defaultSteps } from "./delay-steps.ts";

export type QueueType = "quorum" | "classic";

/** Of the queues that groups get. */
export interface QueueOptions {
  /** Default `quorum`. */
  readonly type?: QueueType;
  /**
   * `x-delivery-limit` of new quorum queues. Default: none (RabbitMQ 4 would set 20 and drop what is above it). With a limit a
   * message is written anew before it gets there, with the count of its attempts, so that the broker drops none.
   */
  readonly deliveryLimit?: number;
  /** `x-max-priority` of classic queues: priorities 0 to this. Default: none. */
  readonly maxPriority?: number;
  /** `x-quorum-initial-group-size`: how many nodes keep a quorum queue. Default: the broker's, which is 3. */
  readonly initialGroupSize?: number;
  /** Further arguments of the queues, in the broker's own names. */
  readonly arguments?: Readonly<Record<string, string | number | boolean>>;
}

export interface ExchangeOptions {
  readonly name: string;
  readonly type: "topic" | "direct" | "fanout" | "headers";
  /** Default true. */
  readonly durable?: boolean;
  readonly autoDelete?: boolean;
  readonly internal?: boolean;
  readonly alternateExchange?: string;
  readonly arguments?: Readonly<Record<string, string | number | boolean>>;
  /** Exchanges that this one receives from. */
  readonly bindings?: readonly BindingOptions[];
}

export interface BindingOptions {
  readonly exchange: string;
  readonly routingKey?: string;
  /** For an exchange of type `headers`: `x-match` and the headers. */
  readonly arguments?: Readonly<Record<string, string | number | boolean>>;
}

/** How the messages of one topic travel. */
export interface TopicOptions {
  /** Instead of the transport's own exchange. */
  readonly exchange?: string;
  /** Default: the topic. */
  readonly routingKey?: string;
  /** Kept in a stream queue as well, for readers: `stream()` from earliest, a position or a time. */
  readonly stream?: boolean | StreamOptions;
}

export interface StreamOptions {
  readonly maxBytes?: number;
  readonly maxAge?: Duration;
}

export interface TlsOptions {
  /** PEM of the authorities to trust instead of the system's. */
  readonly ca?: string | readonly string[];
  /** PEM of the client's certificate and key. */
  readonly cert?: string;
  readonly key?: string;
  readonly passphrase?: string;
  /** The name that the certificate must carry. Default: the host of the address. */
  readonly servername?: string;
}

export interface RabbitmqOptions {
  /** `amqp://user:password@host:5672/vhost`, `amqps://…`; several are nodes of one cluster. Default `amqp://127.0.0.1:5672`. */
  readonly url?: string | readonly string[];
  /** Instead of those in the URLs. */
  readonly username?: string;
  readonly password?: string;
  readonly vhost?: string;
  readonly tls?: TlsOptions;
  /** Of the connections, for people who look at the broker. Default `waybill`. */
  readonly connectionName?: string;
  /** A peer that is silent for two to three of it is gone. Default 10 s. */
  readonly heartbeat?: Duration;
  /** Of one address. Default 5 s. */
  readonly connectTimeout?: Duration;
  /** For any answer of the broker but a confirm. Default 10 s. */
  readonly replyTimeout?: Duration;
  /** The topic exchange that messages are published to; the names of its companions begin with it. Default `waybill`. */
  readonly exchange?: string;
  readonly queue?: QueueOptions;
  /** Further exchanges to declare. */
  readonly exchanges?: readonly ExchangeOptions[];
  /** Topics that travel otherwise, by name. */
  readonly topics?: Readonly<Record<string, TopicOptions>>;
  /** The delays that there are queues for; one in between takes the next longer. Default: some 80 from 10 ms to 30 days. */
  readonly delaySteps?: readonly Duration[];
  /** Makes the exchanges and queues that are missing. Default true; false: their absence is an error, `TOPOLOGY`. */
  readonly declare?: boolean;
  /** Messages outlive the broker's restart. Default true. */
  readonly persistent?: boolean;
  /** Default 16 MiB, the limit of RabbitMQ 4 (3.x: 128 MiB). */
  readonly maxBodyBytes?: number;
  /** How often the broker's view of our consumers is compared with ours. Default 15 s. */
  readonly watchEvery?: Duration;
  /** Channels open at once for declaring and looking. Default 4. */
  readonly maxControlChannels?: number;
}

/** Every option with its value. */
export interface Settings {
  readonly addresses: readonly BrokerAddress[];
  readonly tls: TlsOptions;
  readonly connectionName: string;
  readonly heartbeatSeconds: number;
  readonly connectTimeoutMs: number;
  readonly replyTimeoutMs: number;
  readonly exchange: string;
  readonly queueType: QueueType;
  readonly deliveryLimit: number | undefined;
  readonly maxPriority: number | undefined;
  readonly initialGroupSize: number | undefined;
  readonly queueArguments: Readonly<Record<string, string | number | boolean>>;
  readonly exchanges: readonly ExchangeOptions[];
  readonly topics: ReadonlyMap<string, TopicOptions>;
  readonly delayStepsMs: readonly number[];
  readonly declare: boolean;
  readonly persistent: boolean;
  readonly maxBodyBytes: number;
  readonly watchMs: number;
  readonly maxControlChannels: number;
}

const name = { type: "string", minLength: 1, maxLength: 200 } as const;
const scalar = { type: "either", of: [{ type: "string" }, { type: "number" }, { type: "boolean" }] } as const;
const argumentsSpec = { type: "record", of: scalar } as const;
const pem = { type: "string", minLength: 1, secret: true } as const;
const maxDelayMs = 30 * 86_400_000;

const queueSpec: SpecFor<QueueOptions> = {
  type: { type: "enum", values: ["quorum", "classic"] },
  deliveryLimit: { type: "integer", min: 3, max: 1_000_000 },
  maxPriority: { type: "integer", min: 1, max: 255 },
  initialGroupSize: { type: "integer", min: 1, max: 99 },
  arguments: argumentsSpec,
};
export const bindingSpec: SpecFor<BindingOptions> = {
  exchange: { ...name, required: true },
  routingKey: { type: "string", maxLength: 255 },
  arguments: argumentsSpec,
};
const exchangeSpec: SpecFor<ExchangeOptions> = {
  name: { ...name, required: true },
  type: { type: "enum", values: ["topic", "direct", "fanout", "headers"], required: true },
  durable: { type: "boolean" },
  autoDelete: { type: "boolean" },
  internal: { type: "boolean" },
  alternateExchange: name,
  arguments: argumentsSpec,
  bindings: { type: "array", of: { type: "object", keys: bindingSpec } },
};
const streamSpec: SpecFor<StreamOptions> = {
  maxBytes: { type: "integer", min: 1_000_000 },
  maxAge: { type: "duration", min: 1_000 },
};
const topicSpec: SpecFor<TopicOptions> = {
  exchange: name,
  routingKey: { type: "string", maxLength: 255 },
  stream: { type: "either", of: [{ type: "boolean" }, { type: "object", keys: streamSpec }] },
};
const tlsSpec: SpecFor<TlsOptions> = {
  ca: { type: "either", of: [pem, { type: "array", of: pem, minLength: 1 }] },
  cert: pem,
  key: pem,
  passphrase: { type: "string", secret: true },
  servername: name,
};
const urlSpec = { type: "string", minLength: 1, secret: true } as const;
const spec: SpecFor<RabbitmqOptions> = {
  url: { type: "either", of: [urlSpec, { type: "array", of: urlSpec, minLength: 1, maxLength: 100 }] },
  username: { type: "string", minLength: 1 },
  password: { type: "string", secret: true },
  vhost: name,
  tls: { type: "object", keys: tlsSpec },
  connectionName: name,
  heartbeat: { type: "duration", min: 1_000, max: 600_000 },
  connectTimeout: { type: "duration", min: 100, max: 600_000 },
  replyTimeout: { type: "duration", min: 100, max: 600_000 },
  exchange: { type: "string", minLength: 1, maxLength: 100 },
  queue: { type: "object", keys: queueSpec },
  exchanges: { type: "array", of: { type: "object", keys: exchangeSpec } },
  topics: { type: "record", of: { type: "object", keys: topicSpec } },
  delaySteps: { type: "array", of: { type: "duration", min: 1, max: maxDelayMs }, minLength: 1, maxLength: 200 },
  declare: { type: "boolean" },
  persistent: { type: "boolean" },
  maxBodyBytes: { type: "integer", min: 1, max: 512 * 1024 * 1024 },
  watchEvery: { type: "duration", min: 100 },
  maxControlChannels: { type: "integer", min: 1, max: 100 },
};

/** What two options say together. */
function contradictions(options: RabbitmqOptions): readonly Problem[] {
  const problems: Problem[] = [];
  const { queue = {}, exchange = "waybill", exchanges = [] } = options;
  const type = queue.type ?? "quorum";
  if (type === "quorum" && queue.maxPriority !== undefined)
    problems.push({
      path: "rabbitmq.queue.maxPriority",
      expected: 'nothing unless type is "classic"',
      found: `the number ${queue.maxPriority}`,
    });
  for (const key of ["deliveryLimit", "initialGroupSize"] as const)
    if (type === "classic" && queue[key] !== undefined)
      problems.push({ path: `rabbitmq.queue.${key}`, expected: 'nothing unless type is "quorum"', found: `the number ${queue[key]}` });
  if (/[^A-Za-z0-9._-]/.test(exchange) || exchange.startsWith("amq."))
    problems.push({
      path: "rabbitmq.exchange",
      expected: "letters, digits, '.', '_', '-', not beginning with amq.",
      found: "another text",
    });
  exchanges.forEach((each, index) => {
    if (each.name === exchange || each.name.startsWith(`${exchange}.`))
      problems.push({
        path: `rabbitmq.exchanges[${index}].name`,
        expected: "a name that the transport does not use itself",
        found: "one of its own",
      });
  });
  return problems;
}

/** @throws `CONFIG` */
export function readOptions(options: RabbitmqOptions): Settings {
  assertOptions(options, spec, "rabbitmq");
  const urls = options.url === undefined ? ["amqp://127.0.0.1:5672"] : typeof options.url === "string" ? [options.url] : options.url;
  const problems: Problem[] = [...contradictions(options)];
  const addresses = urls.map((url, index) =>
    parseUrl(url, options, Array.isArray(options.url) ? `rabbitmq.url[${index}]` : "rabbitmq.url", problems),
  );
  if (problems.length > 0) throw configError(problems);
  const { queue = {} } = options;
  const steps = options.delaySteps?.map((step, index) => Math.ceil(durationMs(step, `rabbitmq.delaySteps[${index}]`))) ?? defaultSteps;
  return {
    addresses: addresses.filter((address) => address !== undefined),
    tls: options.tls ?? {},
    connectionName: options.connectionName ?? "waybill",
    heartbeatSeconds: Math.max(1, Math.round(durationMs(options.heartbeat ?? "10s", "rabbitmq.heartbeat") / 1_000)),
    connectTimeoutMs: durationMs(options.connectTimeout ?? "5s", "rabbitmq.connectTimeout"),
    replyTimeoutMs: durationMs(options.replyTimeout ?? "10s", "rabbitmq.replyTimeout"),
    exchange: options.exchange ?? "waybill",
    queueType: queue.type ?? "quorum",
    deliveryLimit: queue.deliveryLimit,
    maxPriority: queue.maxPriority,
    initialGroupSize: queue.initialGroupSize,
    queueArguments: queue.arguments ?? {},
    exchanges: options.exchanges ?? [],
    topics: new Map(Object.entries(options.topics ?? {})),
    delayStepsMs: [...new Set(steps)].toSorted((a, b) => a - b),
    declare: options.declare ?? true,
    persistent: options.persistent ?? true,
    maxBodyBytes: options.maxBodyBytes ?? 16 * 1024 * 1024,
    watchMs: durationMs(options.watchEvery ?? "15s", "rabbitmq.watchEvery"),
    maxControlChannels: options.maxControlChannels ?? 4,
  };
}
