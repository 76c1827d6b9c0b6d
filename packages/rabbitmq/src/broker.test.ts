import assert from "node:assert/strict";
import { test } from "node:test";
import { command, event, fixed, isWaybillError, request, type StandardSchema } from "@waybill/core";
import { connect, type ConfirmChannel } from "amqplib";
import { message, subscribe, unique, until, withServer } from "./integration.fixture.ts";
import { queueName } from "./names.ts";
import type { RabbitmqTransport } from "./transport.ts";

const server = withServer("rabbitmq");

async function bare<T>(work: (channel: ConfirmChannel) => Promise<T>): Promise<T> {
  const model = await connect(server.running.url);
  try {
    const channel = await model.createConfirmChannel();
    const answer = await work(channel);
    // The client's own goodbye would overtake what was published.
    await channel.waitForConfirms();
    return answer;
  } finally {
    await model.close();
  }
}

/** A schema that takes whatever it is given. */
function anything<T>(): StandardSchema<T> {
  return { "~standard": { version: 1, vendor: "test", validate: (value) => ({ value: value as T }) } };
}

test("a consumer that the broker knows nothing of is made again, and health is false meanwhile", async () => {
  const bus = server.bus();
  const placed = event<number>(unique("zombie"));
  const handled: number[] = [];
  const subscription = bus.subscribe(placed, { group: "g" }, (number) => void handled.push(number));
  await bus.start();
  await bus.publish(placed, 1);
  await until("the first", () => handled.includes(1));
  // Behind the adapter's back: its own channel ends its own consumer, and nobody is told.
  const consume = (bus.transport as RabbitmqTransport).client.consume as unknown as {
    readonly connection: {
      readonly channels: readonly ({
        readonly channel: { readonly consumers?: ReadonlyMap<string, unknown>; cancel(tag: string): Promise<unknown> };
      } | null)[];
    };
  };
  for (const each of consume.connection.channels) for (const tag of each?.channel.consumers?.keys() ?? []) await each?.channel.cancel(tag);
  let unhealthy = false;
  await bus.publish(placed, 2);
  await until("the second", () => {
    unhealthy ||= !subscription.status().healthy;
    return handled.includes(2);
  });
  assert(unhealthy, "it was attached to nothing, and healthy");
  await until("health", () => subscription.status().healthy);
});

test("a consumer whose queue was deleted has it again", async () => {
  const bus = server.bus();
  const placed = event<number>(unique("deleted"));
  const handled: number[] = [];
  bus.subscribe(placed, { group: "g" }, (number) => void handled.push(number));
  await bus.start();
  await bare((channel) => channel.deleteQueue(queueName("g", placed.topic)));
  await until("a message", async () => {
    await bus.publish(placed, 1);
    return handled.length > 0;
  });
});

test("a queue with a delivery limit drops nothing", async () => {
  const transport = await server.transport({ queue: { deliveryLimit: 4 } });
  const topic = unique("limit");
  const member = await subscribe(transport, { topic, group: "g" });
  const [outcome] = await transport.publish([message(topic, { id: "limited" })], { signal: AbortSignal.timeout(5_000) });
  assert.equal(outcome?.ok, true);
  for (let times = 1; times <= 15; times += 1) {
    await until(`delivery ${times}`, () => member.got.length === times);
    const delivery = member.got[times - 1];
    assert(delivery !== undefined && delivery.message.id === "limited");
    assert((delivery.attempt ?? 0) >= times, `attempt ${delivery.attempt} at delivery ${times}`);
    await member.subscription.settle([{ kind: "release", delivery }]);
  }
});

test("JSON that any client publishes is handled, and what we publish any client reads", async () => {
  const bus = server.bus();
  const placed = event<{ readonly n: number }>(unique("foreign"), { key: ({ n }) => `k${n}` });
  const handled: number[] = [];
  bus.subscribe(placed, { group: "g", retry: { attempts: 3, backoff: fixed(20), deadLetter: true } }, ({ n }, ctx) => {
    if (ctx.attempt === 1) throw new Error("once");
    handled.push(n);
  });
  await bus.start();
  await bare(async (channel) => {
    channel.publish("waybill", placed.topic, Buffer.from('{"n":7}'));
    await until("the foreign one, at its second attempt", () => handled.includes(7));
    const { queue } = await channel.assertQueue("", { exclusive: true });
    await channel.bindQueue(queue, "waybill", placed.topic);
    const { id } = await bus.publish(placed, { n: 8 }, { headers: { tenant: "a" } });
    const read = await channel.get(queue, { noAck: true });
    assert(read !== false);
    assert.equal(read.content.toString(), '{"n":8}');
    assert.equal(read.properties.messageId, id);
    assert.equal(read.properties.contentType, "application/json");
    assert.equal(read.properties.headers?.["tenant"], "a");
    assert.equal(read.properties.headers?.["waybill-key"], "k8");
  });
});

test("a command without a destination is a definite error, and the connection goes on", async () => {
  const bus = server.bus();
  const charge = command<number>(unique("charge"));
  await bus.start();
  await assert.rejects(bus.publish(charge, 1), { code: "UNROUTABLE", certainty: "definite" });
  const placed = event<number>(unique("placed"));
  await assert.rejects(bus.publish(placed, 1, { native: { exchange: unique("missing") } }), (error) => isWaybillError(error, "TOPOLOGY"));
  await bus.publish(placed, 2);
});

test("requests are answered by direct reply-to, and one that nobody takes is an error", async () => {
  const quote = request(unique("quote"), { request: anything<{ readonly sku: string }>(), reply: anything<{ readonly price: number }>() });
  const nobody = request(unique("nobody"), { request: anything<number>(), reply: anything<number>() });
  const asking = server.bus();
  const answering = server.bus();
  answering.reply(quote, { group: "pricing" }, ({ sku }) => ({ price: sku.length }));
  await Promise.all([asking.start(), answering.start()]);
  const prices = await Promise.all(["a", "bb", "ccc"].map((sku) => asking.request(quote, { sku }, { timeout: "10s" })));
  assert.deepEqual(prices, [{ price: 1 }, { price: 2 }, { price: 3 }]);
  await assert.rejects(asking.request(nobody, 1, { timeout: "10s" }), { code: "NO_RESPONDERS" });
});

test("exchanges of every type, and bindings between and to them", async () => {
  const [direct, fanout, matching] = [unique("direct"), unique("fanout"), unique("headers")];
  const topic = unique("routed");
  const transport = await server.transport({
    exchanges: [
      { name: direct, type: "direct" },
      { name: fanout, type: "fanout", bindings: [{ exchange: direct, routingKey: "all" }] },
      { name: matching, type: "headers" },
    ],
    topics: { [topic]: { exchange: direct, routingKey: "one" } },
  });
  const [plain, all, some] = await Promise.all([
    subscribe(transport, { topic, group: "plain" }),
    subscribe(transport, { topic: unique("all"), group: "all", native: { bindings: [{ exchange: fanout }] } }),
    subscribe(transport, {
      topic: unique("some"),
      group: "some",
      native: { bindings: [{ exchange: matching, arguments: { "x-match": "all", tenant: "a" } }] },
    }),
  ]);
  const publish = async (id: string, native: object | undefined): Promise<void> => {
    const [outcome] = await transport.publish([message(topic, { id, native, mandatory: true })], { signal: AbortSignal.timeout(5_000) });
    if (outcome?.ok === false) throw outcome.error;
  };
  await publish("by its topic", undefined);
  await publish("to all", { exchange: direct, routingKey: "all" });
  await publish("by headers", { exchange: matching, headers: { tenant: "a" } });
  await assert.rejects(publish("by other headers", { exchange: matching, headers: { tenant: "b" } }), { code: "UNROUTABLE" });
  await until("all three", () => plain.got.length + all.got.length + some.got.length === 3);
  assert.deepEqual(
    [plain, all, some].map(({ got }) => got.map((each) => each.message.id)),
    [["by its topic"], ["to all"], ["by headers"]],
  );
});

test("bodies around the size of a frame and headers of every type arrive as they were", async () => {
  const transport = await server.transport();
  const topic = unique("frames");
  const member = await subscribe(transport, { topic, group: "g", credit: { messages: 100, bytes: 1 << 26 } });
  const frame = 131_072;
  const sizes = [0, 1, 16_383, 16_384, 16_385, frame - 9, frame - 8, frame - 7, frame, 2 * (frame - 8), 2 * frame + 1, 1_000_000];
  const native = {
    headers: { text: "\u{1F600}".repeat(40), whole: 2 ** 40, negative: -5, part: 0.25, yes: true, no: false },
    type: "t",
    appId: "a",
    userId: "guest",
  };
  const sent = sizes.map((size) => message(topic, { body: Buffer.alloc(size, size & 255), native, expiresAt: Date.now() + 60_000 }));
  const signal = AbortSignal.timeout(10_000);
  for (const outcome of await transport.publish(sent, { signal })) assert(outcome.ok);
  await until("all of them", () => member.got.length === sent.length);
  for (const [index, { message: got }] of member.got.entries()) {
    assert.equal(got.id, sent[index]?.id);
    assert(Buffer.compare(got.body as Buffer, sent[index]?.body as Buffer) === 0, `a body of ${sizes[index]} bytes`);
    assert.deepEqual(
      { ...got.headers },
      { text: "\u{1F600}".repeat(40), whole: String(2 ** 40), negative: "-5", part: "0.25", yes: "true", no: "false" },
    );
    assert.equal(got.expiresAt, sent[index]?.expiresAt);
  }
  const [wide] = await transport.publish([message(topic, { headers: { wide: "x".repeat(frame) } })], { signal });
  assert(wide?.ok === false && wide.error.code === "CONFIG" && wide.error.certainty === "definite");
});

test("a topic that is kept is read from its beginning, a position or a time, again and again", async () => {
  const topic = unique("kept");
  const transport = await server.transport({ topics: { [topic]: { stream: { maxAge: "1d" } } } });
  const publish = async (ids: readonly string[]): Promise<void> => {
    const outcomes = await transport.publish(
      ids.map((id) => message(topic, { id })),
      { signal: AbortSignal.timeout(5_000) },
    );
    assert(outcomes.every((outcome) => outcome.ok));
  };
  await publish(["a", "b", "c"]);
  const idsOf = (taken: { readonly got: readonly { readonly message: { readonly id: string } }[] }): string[] =>
    taken.got.map((each) => each.message.id);
  const begun = Date.now();
  await until("the next millisecond", () => Date.now() > begun);
  const time = Date.now();
  await publish(["d"]);
  const all = await subscribe(transport, { topic, from: "earliest" });
  await until("all of them", () => all.got.length === 4);
  assert.deepEqual(idsOf(all), ["a", "b", "c", "d"]);
  const position = all.got[2]?.position;
  assert(position !== undefined);
  const late = await subscribe(transport, { topic, from: { position } });
  const timed = await subscribe(transport, { topic, from: { time } });
  const next = await subscribe(transport, { topic });
  await publish(["e"]);
  await until("the last one", () => [all, late, timed, next].every((each) => idsOf(each).includes("e")));
  assert.deepEqual([late, timed, next].map(idsOf), [["c", "d", "e"], ["d", "e"], ["e"]]);
});

test("a queue that is there already is read as it is, and its retries find the way back", async () => {
  const queue = unique("old");
  await bare((channel) => channel.assertQueue(queue, { durable: true }));
  const bus = server.bus({ queue: { type: "classic" } });
  const placed = event<number>(unique("old"));
  const attempts: number[] = [];
  bus.subscribe(placed, { group: "g", native: { queue }, retry: { attempts: 3, backoff: fixed(20), deadLetter: true } }, (_, ctx) => {
    attempts.push(ctx.attempt);
    if (ctx.attempt < 3) throw new Error("not yet");
  });
  await bus.start();
  await bare(async (channel) => void channel.sendToQueue(queue, Buffer.from("1")));
  await until("three attempts", () => attempts.length === 3);
  assert.deepEqual(attempts, [1, 2, 3]);
});
