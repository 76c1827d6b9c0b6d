import { assertOptions, configError, durationMs, type Duration, type Problem, type SpecFor } from "@waybill/core";
import { parseBrokers, type BrokerAddress } from "./session/address.ts";

export type Compression = "none" | "gzip" | "snappy" | "lz4" | "zstd";
export type GroupProtocol = "classic" | "consumer";

export interface SaslOptions {
  readonly mechanism: "plain" | "scram-sha-256" | "scram-sha-512" | "oauthbearer";
  readonly username?: string;
  readonly password?: string;
  /** For `oauthbearer`: the token, or what fetches one; asked at every connect and before a token ends. */
  readonly token?: string | (() => string | Promise<string>);
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

/** How topics are made that are missing. */
export interface TopicDefaults {
  /** Default: the broker's `num.partitions`. */
  readonly partitions?: number;
  /** Default: the broker's `default.replication.factor`. */
  readonly replicationFactor?: number;
  /** Further settings of new topics, in Kafka's own names. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface KafkaOptions {
  /** `host:port`, `kafka://host:port`, or several of them (a list, or split by commas). Default `127.0.0.1:9092`. */
  readonly brokers?: string | readonly string[];
  /** Default `waybill`. */
  readonly clientId?: string;
  readonly sasl?: SaslOptions;
  /** `true`: the system's authorities. */
  readonly tls?: boolean | TlsOptions;
  /** Of one address. Default 5 s. */
  readonly connectTimeout?: Duration;
  /** For any answer of the broker; a connection that keeps silent for longer is given up. Default 10 s. */
  readonly requestTimeout?: Duration;
  /** Within it a publish is confirmed or its outcome is unknown. Default 5 s. */
  readonly deliveryTimeout?: Duration;
  /** Between two tries of one write, within the delivery time-out. Default 100 ms. */
  readonly retryBackoff?: Duration;
  /** Idempotent producers, each with one write on its way; a key always goes by the same one. Default 4. */
  readonly producers?: number;
  /** Default `none`. */
  readonly compression?: Compression;
  /** `murmur2`: as the Java client. `crc32`: as librdkafka's `consistent`. Default `murmur2`. */
  readonly partitioner?: "murmur2" | "crc32";
  /** Bytes of one body. Default 1,000,000, or less where the broker's `message.max.bytes` says so. */
  readonly maxBodyBytes?: number;
  /** Makes the topics that are missing, when they are published or subscribed to. Default true; false: `TOPOLOGY` and `UNROUTABLE`. */
  readonly createTopics?: boolean;
  readonly topics?: TopicDefaults;
  /** `classic`: the session time-out below. `consumer` (KIP-848): the broker decides how soon a dead member is replaced. Default `classic`. */
  readonly groupProtocol?: GroupProtocol;
  /** Classic groups: a member that is silent for so long is replaced. Default 6 s. */
  readonly sessionTimeout?: Duration;
  /** Classic groups: how soon a rebalance is noticed, too. Default: a twelfth of the session time-out. */
  readonly heartbeatEvery?: Duration;
  /** Classic groups. `cooperative`: only what moves is given back. `eager`: everything is, at every rebalance. One for the whole group. Default `cooperative`. */
  readonly assignment?: "cooperative" | "eager";
  /** How long a rebalance waits for handlers of revoked partitions. Default 30 s. */
  readonly rebalanceTimeout?: Duration;
  /** Static membership: within the session time-out a restarted member of this name gets its partitions back without a rebalance. */
  readonly instanceId?: string;
  /** Of one fetch. Default 1 MiB. */
  readonly maxFetchBytes?: number;
  /** Of one fetch and partition. Default 256 KiB. */
  readonly maxPartitionFetchBytes?: number;
  /** What one compressed batch may unpack to. Default 16 MiB. */
  readonly maxUnpackedBytes?: number;
  /** How often new topics of patterns are looked for, and the broker's view of our members is compared with ours. Default 5 s. */
  readonly watchEvery?: Duration;
  /** The transactional id: whoever begins under it next fences this one. Each process needs its own. Default: a random one. */
  readonly transactionalId?: string;
  /** The broker aborts a transaction that is open for longer. Default 30 s. */
  readonly transactionTimeout?: Duration;
}

/** Every option with its value. */
export interface Settings {
  readonly brokers: readonly BrokerAddress[];
  readonly clientId: string;
  readonly sasl: SaslOptions | undefined;
  readonly tls: TlsOptions | undefined;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly deliveryTimeoutMs: number;
  readonly retryBackoffMs: number;
  readonly producers: number;
  readonly compression: Compression;
  readonly partitioner: "murmur2" | "crc32";
  readonly maxBodyBytes: number | undefined;
  readonly createTopics: boolean;
  readonly topics: TopicDefaults;
  readonly groupProtocol: GroupProtocol;
  readonly sessionTimeoutMs: number;
  readonly heartbeatMs: number;
  readonly assignment: "cooperative" | "eager";
  readonly rebalanceTimeoutMs: number;
  readonly instanceId: string | undefined;
  readonly maxFetchBytes: number;
  readonly maxPartitionFetchBytes: number;
  readonly maxUnpackedBytes: number;
  readonly watchMs: number;
  readonly transactionalId: string | undefined;
  readonly transactionTimeoutMs: number;
}

const mebibyte = 1024 * 1024;
const name = { type: "string", minLength: 1, maxLength: 200 } as const;
const pem = { type: "string", minLength: 1, secret: true } as const;
const secret = { type: "string", secret: true } as const;
const wait = { type: "duration", min: 100, max: 600_000 } as const;

const saslSpec: SpecFor<SaslOptions> = {
  mechanism: { type: "enum", values: ["plain", "scram-sha-256", "scram-sha-512", "oauthbearer"], required: true },
  username: name,
  password: secret,
  token: { type: "either", of: [secret, { type: "function" }] },
};
const tlsSpec: SpecFor<TlsOptions> = {
  ca: { type: "either", of: [pem, { type: "array", of: pem, minLength: 1 }] },
  cert: pem,
  key: pem,
  passphrase: secret,
  servername: name,
};
const topicsSpec: SpecFor<TopicDefaults> = {
  partitions: { type: "integer", min: 1, max: 100_000 },
  replicationFactor: { type: "integer", min: 1, max: 100 },
  settings: { type: "record", of: { type: "string" } },
};
const address = { type: "string", minLength: 1, secret: true } as const;
const spec: SpecFor<KafkaOptions> = {
  brokers: { type: "either", of: [address, { type: "array", of: address, minLength: 1, maxLength: 100 }] },
  clientId: name,
  sasl: { type: "object", keys: saslSpec },
  tls: { type: "either", of: [{ type: "boolean" }, { type: "object", keys: tlsSpec }] },
  connectTimeout: wait,
  requestTimeout: { type: "duration", min: 1_000, max: 600_000 },
  deliveryTimeout: wait,
  retryBackoff: { type: "duration", min: 1, max: 60_000 },
  producers: { type: "integer", min: 1, max: 64 },
  compression: { type: "enum", values: ["none", "gzip", "snappy", "lz4", "zstd"] },
  partitioner: { type: "enum", values: ["murmur2", "crc32"] },
  maxBodyBytes: { type: "integer", min: 1, max: 512 * mebibyte },
  createTopics: { type: "boolean" },
  topics: { type: "object", keys: topicsSpec },
  groupProtocol: { type: "enum", values: ["classic", "consumer"] },
  sessionTimeout: { type: "duration", min: 1_000, max: 1_800_000 },
  heartbeatEvery: { type: "duration", min: 100, max: 600_000 },
  assignment: { type: "enum", values: ["cooperative", "eager"] },
  rebalanceTimeout: { type: "duration", min: 1_000, max: 1_800_000 },
  instanceId: name,
  maxFetchBytes: { type: "integer", min: 1_024, max: 512 * mebibyte },
  maxPartitionFetchBytes: { type: "integer", min: 1_024, max: 512 * mebibyte },
  maxUnpackedBytes: { type: "integer", min: 1_024, max: 512 * mebibyte },
  watchEvery: { type: "duration", min: 100, max: 600_000 },
  transactionalId: name,
  transactionTimeout: { type: "duration", min: 1_000, max: 900_000 },
};

/** What two options say together. */
function contradictions({ sasl, sessionTimeout, heartbeatEvery, deliveryTimeout, retryBackoff }: KafkaOptions): readonly Problem[] {
  const problems: Problem[] = [];
  if (sasl?.mechanism === "oauthbearer" && sasl.token === undefined)
    problems.push({ path: "kafka.sasl.token", expected: "a token, or a function that gives one", found: "nothing" });
  if (sasl !== undefined && sasl.mechanism !== "oauthbearer" && (sasl.username === undefined || sasl.password === undefined))
    problems.push({ path: "kafka.sasl", expected: "username and password", found: "not both" });
  const sessionMs = durationMs(sessionTimeout ?? "6s", "kafka.sessionTimeout");
  if (heartbeatEvery !== undefined && durationMs(heartbeatEvery, "kafka.heartbeatEvery") >= sessionMs)
    problems.push({ path: "kafka.heartbeatEvery", expected: "less than sessionTimeout", found: "more" });
  const deliveryMs = durationMs(deliveryTimeout ?? "5s", "kafka.deliveryTimeout");
  if (durationMs(retryBackoff ?? 100, "kafka.retryBackoff") >= deliveryMs)
    problems.push({ path: "kafka.retryBackoff", expected: "less than deliveryTimeout", found: "more" });
  return problems;
}

/** @throws `CONFIG` */
export function readOptions(options: KafkaOptions): Settings {
  assertOptions(options, spec, "kafka");
  const problems: Problem[] = [...contradictions(options)];
  const brokers = parseBrokers(options.brokers ?? "127.0.0.1:9092", problems);
  if (problems.length > 0) throw configError(problems);
  const ms = (given: Duration | undefined, otherwise: Duration, key: string): number => durationMs(given ?? otherwise, `kafka.${key}`);
  const sessionTimeoutMs = ms(options.sessionTimeout, "6s", "sessionTimeout");
  return {
    brokers,
    clientId: options.clientId ?? "waybill",
    sasl: options.sasl,
    tls: options.tls === true ? {} : options.tls === false ? undefined : options.tls,
    connectTimeoutMs: ms(options.connectTimeout, "5s", "connectTimeout"),
    requestTimeoutMs: ms(options.requestTimeout, "10s", "requestTimeout"),
    deliveryTimeoutMs: ms(options.deliveryTimeout, "5s", "deliveryTimeout"),
    retryBackoffMs: ms(options.retryBackoff, 100, "retryBackoff"),
    producers: options.producers ?? 4,
    compression: options.compression ?? "none",
    partitioner: options.partitioner ?? "murmur2",
    maxBodyBytes: options.maxBodyBytes,
    createTopics: options.createTopics ?? true,
    topics: options.topics ?? {},
    groupProtocol: options.groupProtocol ?? "classic",
    sessionTimeoutMs,
    heartbeatMs: options.heartbeatEvery === undefined ? Math.floor(sessionTimeoutMs / 12) : ms(options.heartbeatEvery, 0, "heartbeatEvery"),
    assignment: options.assignment ?? "cooperative",
    rebalanceTimeoutMs: ms(options.rebalanceTimeout, "30s", "rebalanceTimeout"),
    instanceId: options.instanceId,
    maxFetchBytes: options.maxFetchBytes ?? mebibyte,
    maxPartitionFetchBytes: options.maxPartitionFetchBytes ?? 256 * 1024,
    maxUnpackedBytes: options.maxUnpackedBytes ?? 16 * mebibyte,
    watchMs: ms(options.watchEvery, "5s", "watchEvery"),
    transactionalId: options.transactionalId,
    transactionTimeoutMs: ms(options.transactionTimeout, "30s", "transactionTimeout"),
  };
}
