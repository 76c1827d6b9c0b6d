import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { Admin, Consumer, ConfigResourceTypes, IncrementalAlterConfigOperationTypes, Producer } from "@platformatic/kafka";
import { startBroker, type RunningBroker } from "@waybill/brokers";
import { createBus, event, isWaybillError, type Delivery, type Message, type Subscription, type TransportStatus } from "@waybill/core";
import { kafka, type KafkaTransport } from "./kafka.ts";
import type { Compression, KafkaOptions } from "./options.ts";

let broker: RunningBroker;
const open = new Set<KafkaTransport>();

before(async () => {
  broker = await startBroker("kafka");
});
after(async () => {
  for (const transport of open) await transport.close();
  await broker[Symbol.asyncDispose]();
});

const never = new AbortController().signal;
const name = (label: string): string => `${label}.${randomBytes(4).toString("hex")}`;
const address = (): string => `${broker.host}:${broker.port}`;

async function connected(
  options: KafkaOptions = {},
  onStatus: (status: TransportStatus) => void = () => undefined,
): Promise<KafkaTransport> {
  const transport = kafka({ brokers: address(), ...options });
  open.add(transport);
  await transport.connect({ signal: AbortSignal.timeout(20_000), onStatus });
  return transport;
}

function message(topic: string, fields: Partial<Message> = {}): Message {
  return {
    id: randomBytes(8).toString("hex"),
    topic,
    group: undefined,
    key: "k",
    body: Buffer.from("body"),
    headers: {},
    time: Date.now(),
    deliverAt: undefined,
    expiresAt: undefined,
    priority: undefined,
    replyTo: undefined,
    correlationId: undefined,
    mandatory: false,
    native: undefined,
    ...fields,
  };
}

async function publish(transport: KafkaTransport, messages: readonly Message[]): Promise<void> {
  for (const outcome of await transport.publish(messages, { signal: never })) if (!outcome.ok) throw outcome.error;
}

/** The code of what one publish was refused with, and how sure that is. */
async function refusal(transport: KafkaTransport, one: Message): Promise<string> {
  const [outcome] = await transport.publish([one], { signal: never });
  return outcome?.ok === false ? `${outcome.error.code} ${outcome.error.certainty}` : "ok";
}

function read(transport: KafkaTransport, topic: string): Promise<Subscription> {
  return transport.subscribe({
    topic,
    pattern: undefined,
    group: undefined,
    from: "earliest",
    credit: { messages: 10_000, bytes: 64 << 20 },
    leaseMs: 30_000,
    order: "none",
    inbox: false,
    native: undefined,
    signal: AbortSignal.timeout(20_000),
    onEvent: () => undefined,
  });
}

async function take(subscription: Subscription, count: number): Promise<readonly Delivery[]> {
  const got: Delivery[] = [];
  const late = setTimeout(() => void subscription[Symbol.asyncDispose](), 20_000);
  for await (const batch of subscription.deliveries()) {
    got.push(...batch);
    if (got.length >= count) break;
  }
  clearTimeout(late);
  await subscription[Symbol.asyncDispose]();
  return got;
}

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = performance.now() + 30_000; !(await condition());) {
    assert(performance.now() < deadline, `${what}: not in time`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

for (const compression of ["none", "gzip", "snappy", "lz4", "zstd"] as const satisfies readonly Compression[]) {
  test(`${compression}: what we write another client reads, and the other way round`, async () => {
    const transport = await connected({ compression });
    const topic = name("codec");
    // Above the size from which the slow codecs work in another thread.
    const sent = Array.from({ length: 100 }, (_, at) =>
      message(topic, { key: `k${at}`, body: Buffer.alloc(1_000, at), headers: { at: String(at) } }),
    );
    await publish(transport, sent);

    const consumer = new Consumer({ clientId: "foreign", groupId: name("g"), bootstrapBrokers: [address()] });
    const stream = await consumer.consume({ topics: [topic], mode: "earliest", maxWaitTime: 100, autocommit: false });
    const found = new Map<string, { readonly body: Buffer; readonly headers: ReadonlyMap<string, string> }>();
    for await (const { key, value, headers } of stream) {
      found.set(key.toString(), { body: value, headers: new Map([...headers].map(([header, text]) => [String(header), String(text)])) });
      if (found.size === sent.length) break;
    }
    await consumer.close(true);
    for (const { id, key, body, headers } of sent) {
      const got = found.get(key ?? "");
      assert(got !== undefined);
      assert.deepEqual(got.body, body);
      assert.equal(got.headers.get("waybill-id"), id);
      assert.equal(got.headers.get("at"), headers["at"]);
    }

    const producer = new Producer({ clientId: "foreign", bootstrapBrokers: [address()], autocreateTopics: true });
    const theirs = name("theirs");
    const messages = sent.map(({ key, body }) => ({ topic: theirs, key: Buffer.from(key ?? ""), value: body as Buffer }));
    await producer.send({ messages, acks: -1, compression });
    await producer.close();
    const got = await take(await read(transport, theirs), sent.length);
    assert.deepEqual(
      new Map(got.map(({ message: { key, body } }) => [key, Buffer.from(body as Uint8Array)])),
      new Map(sent.map(({ key, body }) => [key, body as Buffer])),
    );
  });
}

test("JSON of a client that knows nothing of us is handled, and what we publish is plain JSON to it", async () => {
  const topic = name("foreign");
  const contract = event<{ readonly total: number }>(topic);
  const bus = createBus({ name: "foreign", transport: kafka({ brokers: address() }) });
  const handled: unknown[] = [];
  bus.subscribe(contract, { group: "g" }, (order, ctx) => void handled.push([order, ctx.message.key]));
  await bus.start();
  const producer = new Producer({ clientId: "foreign", bootstrapBrokers: [address()] });
  await producer.send({ messages: [{ topic, key: Buffer.from("k"), value: Buffer.from('{"total":3}') }], acks: -1 });
  await producer.close();
  await until("the foreign message", () => handled.length === 1);
  assert.deepEqual(handled, [[{ total: 3 }, "k"]]);
  await bus.close();
});

test("a tombstone is a record without a value", async () => {
  const transport = await connected();
  const topic = name("tombstone");
  await publish(transport, [message(topic, { body: null })]);
  const [delivery] = await take(await read(transport, topic), 1);
  assert.equal(delivery?.message.body, null);
});

test("a message above the topic's own limit is refused for certain, alone, also when the limit changes meanwhile", async () => {
  const transport = await connected();
  const topic = name("large");
  const body = Buffer.alloc(50_000);
  await publish(transport, [message(topic, { body })]);
  const admin = new Admin({ clientId: "admin", bootstrapBrokers: [address()] });
  const configs = [{ name: "max.message.bytes", value: "10000", configOperation: IncrementalAlterConfigOperationTypes.SET }];
  await admin.incrementalAlterConfigs({ resources: [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configs }] });
  await admin.close();
  await until("the new limit", async () => (await refusal(transport, message(topic, { body }))) === "TOO_LARGE definite");
  const outcomes = await transport.publish(
    [
      message(topic),
      message(topic, { body }),
      message(topic),
      ...Array.from({ length: 30 }, () => message(topic, { body: Buffer.alloc(1_000) })),
    ],
    {
      signal: never,
    },
  );
  assert.deepEqual(
    outcomes.map(({ ok }) => ok),
    [true, false, ...Array.from({ length: 31 }, () => true)],
  );
});

test("a topic is made with what the options say; without leave to make it, that is an error", async () => {
  const made = await connected({ topics: { partitions: 3, settings: { "cleanup.policy": "compact" } } });
  const topic = name("made");
  await publish(made, [message(topic)]);
  const admin = new Admin({ clientId: "admin", bootstrapBrokers: [address()] });
  const metadata = await admin.metadata({ topics: [topic] });
  assert.equal(metadata.topics.get(topic)?.partitionsCount, 3);
  await admin.close();
  // A compacted topic takes nothing without a key.
  assert.equal(await refusal(made, message(topic, { key: undefined })), "TRANSPORT definite");
  await publish(made, [message(topic)]);
  const strict = await connected({ createTopics: false });
  assert.equal(await refusal(strict, message(name("absent"))), "UNROUTABLE definite");
  assert.deepEqual(await strict.check?.({ topics: [topic, "absent"], groups: [{ topic, group: "nobody" }] }), [
    "topic absent",
    `group nobody of topic ${topic}`,
  ]);
  await assert.rejects(async () => strict.declare?.({ topics: ["absent"], groups: [] }), { code: "TOPOLOGY" });
});

test("names and options that Kafka does not take are refused for certain", async () => {
  const transport = await connected({ topics: { partitions: 2 } });
  const topic = name("refused");
  assert.equal(await refusal(transport, message("x".repeat(250))), "NAME definite");
  assert.equal(await refusal(transport, message(topic, { priority: 1 })), "CAPABILITY definite");
  assert.equal(await refusal(transport, message(topic, { native: { partition: 2 } })), "CONFIG definite");
  assert.equal(await refusal(transport, message(topic, { native: { partitions: 2 } })), "CONFIG definite");
  assert.equal(await refusal(transport, message(topic, { key: "\ud800" })), "CONFIG definite");
  assert.equal(await refusal(transport, message(topic, { body: "text" })), "CONFIG definite");
  await publish(transport, [message(topic, { native: { partition: 1 } })]);
  const [delivery] = await take(await read(transport, topic), 1);
  assert.match(String(delivery?.position), /^1:/);
});

test("while the broker is frozen a publish is indefinite in time; afterwards all goes on, and nothing is stored twice by itself", async () => {
  const statuses: TransportStatus[] = [];
  const transport = await connected({ deliveryTimeout: "1s", requestTimeout: "2s", connectTimeout: "1s", watchEvery: "500ms" }, (status) =>
    statuses.push(status),
  );
  const topic = name("frozen");
  await publish(transport, [message(topic, { id: "before" })]);
  const [node] = broker.nodes;
  assert(node !== undefined);
  node.pause();
  try {
    const begun = performance.now();
    assert.match(await refusal(transport, message(topic, { id: "during" })), /^PUBLISH_TIMEOUT indefinite$/);
    assert(performance.now() - begun < 3_000);
    await until("the loss is noticed", () => statuses.includes("disconnected"));
    // Not even begun.
    assert.match(await refusal(transport, message(name("other"))), / definite$/);
  } finally {
    node.resume();
  }
  await until("publishing goes on", async () => (await refusal(transport, message(topic, { id: "after" }))) === "ok");
  await until("it says so", () => statuses.at(-1) === "connected");
  const got = await take(await read(transport, topic), 2);
  for (const id of ["before", "during", "after"])
    assert(got.filter((delivery) => delivery.message.id === id).length <= 1, `${id} is there twice`);
});

test("connecting while no broker is there is an error that is worth another try, within the time-out", async () => {
  const transport = kafka({ brokers: ["127.0.0.1:1", "127.0.0.1:2"], connectTimeout: "500ms" });
  const begun = performance.now();
  await assert.rejects(
    transport.connect({ signal: never, onStatus: () => undefined }),
    (error) => isWaybillError(error, "CONNECTION") && error.retryable,
  );
  assert(performance.now() - begun < 5_000);
  const stopped = new AbortController();
  const connecting = transport.connect({ signal: stopped.signal, onStatus: () => undefined });
  stopped.abort();
  await assert.rejects(connecting, { code: "ABORTED" });
  await transport.close();
});
