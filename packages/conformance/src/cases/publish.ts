import assert from "node:assert/strict";
import type { CapabilityName, Message } from "@waybill/core";
import type { Case } from "../case.ts";
import { headers, message, publish, publishAll, read } from "../rig.ts";
import type { Rig } from "../rig.ts";
import { definite, ids, subscribe } from "../taker.ts";

/** How every case listens, whether groups are offered or not. */
export const group = (rig: Rig, label = "g"): string | undefined => (offered(rig, "groups") ? rig.unique(label) : undefined);
export const offered = (rig: Rig, name: CapabilityName): boolean => rig.capabilities[name].level !== "none";
/** What is unsettled counts against the credit, also where an acknowledgement means nothing else. */
export const acks = (rig: Rig): boolean => offered(rig, "settle") || offered(rig, "credit");

export const publishCases: readonly Case[] = [
  {
    name: "P06 what arrives was published to this very topic",
    covers: ["message.topic", "subscribe.topic", "message.id"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("own");
      const near = [`${topic}.more`, topic.slice(0, -1), `x${topic}`, rig.unique("own")];
      const taker = await subscribe(rig, transport, { topic, group: group(rig) }, { ack: acks(rig) });
      const sent: string[] = [];
      for (let round = 0; round < rig.scale(20, 500); round += 1) {
        const mine = message(rig, topic, { key: "one" });
        sent.push(mine.id);
        await publishAll(rig, transport, [...near.map((other) => message(rig, other, { key: "one" })), mine]);
      }
      const got = await taker.take(sent.length);
      assert.deepEqual(ids(got), sent);
      assert(got.every((delivery) => delivery.message.topic === topic));
      await lastOne(rig, transport, topic, taker);
      rig.saw(sent.length);
    },
  },
  {
    name: "P07 body, key, id, time and correlation arrive as they were published",
    covers: ["message.body", "message.key", "message.id", "message.time", "message.replyTo", "message.correlationId", "delivery.message"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("same");
      const taker = await subscribe(rig, transport, { topic, group: group(rig) }, { ack: acks(rig) });
      const sizes = [0, 1, 2, 127, 128, 129, 255, 256, 257, 4095, 4096, 4097, 65_535, 65_536, 65_537];
      const sent = sizes
        .filter((size) => size <= rig.capabilities.maxBodyBytes)
        .map((size, index) =>
          message(rig, topic, {
            key: `key ${index}`,
            body: bytes(size),
            time: 1_700_000_000_000 + index,
            replyTo: `reply.${index}`,
            correlationId: `correlation ${index}`,
          }),
        );
      await publishAll(rig, transport, sent);
      const got = new Map((await taker.take(sent.length)).map((delivery) => [delivery.message.id, delivery.message]));
      for (const was of sent) same(got.get(was.id), was);
      rig.saw(sent.length);
    },
  },
  {
    name: "P07 headers arrive as they were published",
    covers: ["message.headers", "capability.headers"],
    needs: ["headers"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("headers");
      const taker = await subscribe(rig, transport, { topic, group: group(rig) }, { ack: acks(rig) });
      const sent = message(rig, topic, { headers: headers({ plain: "a", "with-dash": "b c", empty: "", long: "x".repeat(2_000) }) });
      await publishAll(rig, transport, [sent]);
      const { message: got } = await taker.one();
      assert.deepEqual({ ...got.headers }, { ...sent.headers });
      assert.equal(Object.getPrototypeOf(got.headers), null, "headers have no prototype");
      rig.saw(1);
    },
  },
  {
    name: "P07 odd text is carried unchanged or refused",
    covers: ["message.key", "message.correlationId"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("odd");
      const taker = await subscribe(rig, transport, { topic, group: group(rig) }, { ack: acks(rig) });
      const odd = ["\u{1F600}", "a\u0000b", "\uFEFFbom", "\u202Ebidi", "lone \uD800", "\uDC00 lone", "e\u0301", "\r\n"];
      const sent = odd.flatMap((text) => [
        message(rig, topic, { key: text }),
        message(rig, topic, { correlationId: text }),
        ...(offered(rig, "headers") ? [message(rig, topic, { headers: headers({ odd: text }) })] : []),
      ]);
      const outcomes = await publish(rig, transport, sent);
      const taken = sent.filter((_, index) => outcomes[index]?.ok === true);
      for (const outcome of outcomes) if (!outcome.ok) assert.equal(outcome.error.certainty, "definite");
      const got = new Map((await taker.take(taken.length)).map((delivery) => [delivery.message.id, delivery.message]));
      for (const was of taken) same(got.get(was.id), was);
      rig.saw(sent.length);
    },
  },
  {
    name: "P08 a message that nobody would receive is a definite error",
    covers: ["message.mandatory", "capability.mandatory"],
    needs: ["mandatory"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("nobody");
      const [outcome, optional] = await publish(rig, transport, [message(rig, topic, { mandatory: true }), message(rig, topic)]);
      definite(outcome, "UNROUTABLE");
      assert.equal(optional?.ok, true, "a message that is not mandatory needs no receiver");
      const taker = await subscribe(rig, transport, { topic, group: group(rig) });
      const sent = message(rig, topic, { mandatory: true });
      await publishAll(rig, transport, [sent]);
      assert.deepEqual(ids(await taker.take(1)), [sent.id]);
      rig.saw(2);
    },
  },
  {
    name: "P09 P04 a body above the limit is refused, never arrives, and harms nobody",
    covers: ["message.body"],
    unless: (rig) => (rig.capabilities.maxBodyBytes > 128 << 20 ? "the limit is above 128 MiB" : undefined),
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("large");
      const taker = await subscribe(rig, transport, { topic, group: group(rig) }, { ack: acks(rig) });
      const max = rig.capabilities.maxBodyBytes;
      const at = message(rig, topic, { key: "k", body: new Uint8Array(max) });
      const above = message(rig, topic, { key: "k", body: new Uint8Array(max + 1) });
      const after = message(rig, topic, { key: "k" });
      const [first] = await publish(rig, transport, [at]);
      const [second] = await publish(rig, transport, [above]);
      const [third] = await publish(rig, transport, [after]);
      assert.equal(first?.ok, true, "a body of exactly the limit is taken");
      definite(second, "TOO_LARGE");
      assert.equal(third?.ok, true, "the next publish is taken");
      assert.deepEqual(ids(await taker.take(2)), [at.id, after.id]);
      rig.saw(3);
    },
  },
  {
    name: "P10 a repeated id is stored once",
    covers: ["message.id", "capability.deduplication"],
    needs: ["deduplication", "settle"],
    async prove(rig) {
      const transport = await rig.transport();
      const other = await rig.transport();
      const topic = rig.unique("repeat");
      const taker = await subscribe(rig, transport, { topic, group: group(rig) }, { ack: true });
      const sent = Array.from({ length: rig.scale(50, 5_000) }, () => message(rig, topic, { key: "k" }));
      await publishAll(rig, transport, sent);
      await publishAll(rig, other, sent);
      await publishAll(rig, transport, [...sent.slice(0, 5), ...sent.slice(0, 5)]);
      assert.deepEqual(ids(await taker.take(sent.length)), ids(sent.map((each) => ({ message: each }) as never)));
      await lastOne(rig, transport, topic, taker, "k");
      rig.saw(sent.length);
    },
  },
  {
    name: "P16 P04 each message of a batch has its own outcome",
    covers: ["message.body"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("batch");
      const taker = await subscribe(rig, transport, { topic, group: group(rig) }, { ack: acks(rig) });
      const good = Array.from({ length: 4 }, () => message(rig, topic, { key: "k" }));
      const bad = unfit(rig, topic);
      const outcomes = await publish(rig, transport, [good[0], good[1], bad, good[2], good[3]] as readonly Message[]);
      assert.deepEqual(
        outcomes.map((outcome) => outcome.ok),
        [true, true, false, true, true],
      );
      assert.equal(!outcomes[2]?.ok && outcomes[2]?.error.certainty, "definite");
      assert.deepEqual(
        ids(await taker.take(4)),
        good.map((each) => each.id),
      );
      await lastOne(rig, transport, topic, taker, "k");
      rig.saw(5);
    },
  },
  {
    name: "a tombstone arrives as one",
    covers: ["message.body", "capability.tombstone"],
    needs: ["tombstone"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("tombstone");
      const taker = await subscribe(rig, transport, { topic, group: group(rig) });
      await publishAll(rig, transport, [message(rig, topic, { key: "gone", body: null })]);
      const { message: got } = await taker.one();
      assert.equal(got.body, null);
      assert.equal(got.key, "gone");
      rig.saw(1);
    },
  },
  {
    name: "an option that the transport does not have is refused, not ignored",
    covers: ["message.native", "subscribe.native"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("native");
      const [outcome] = await publish(rig, transport, [message(rig, topic, { native: { "no-such-option": 1 } })]);
      definite(outcome, "CONFIG");
      await assert.rejects(
        async () => void (await subscribe(rig, transport, { topic, group: group(rig), native: { "no-such-option": 1 } })),
        { code: "CONFIG" },
      );
    },
  },
];

/** A message that this transport has to refuse: too large, or asking for what it does not offer. */
function unfit(rig: Rig, topic: string): Message {
  if (offered(rig, "mandatory")) return message(rig, rig.unique("nobody"), { mandatory: true });
  if (!offered(rig, "delay")) return message(rig, topic, { deliverAt: Date.now() + 60_000 });
  return message(rig, topic, { body: new Uint8Array(rig.capabilities.maxBodyBytes + 1) });
}

/** After what was taken nothing but one more message comes: what was to be absent would have come before it. */
export async function lastOne(
  rig: Rig,
  transport: Parameters<typeof publishAll>[1],
  topic: string,
  taker: Awaited<ReturnType<typeof subscribe>>,
  key = "one",
): Promise<void> {
  const last = message(rig, topic, { key });
  await publishAll(rig, transport, [last]);
  await rig.until("the last message", () => taker.got.some((delivery) => delivery.message.id === last.id));
  assert.deepEqual(ids(await taker.take(taker.got.length - taker.taken())), [last.id], "more arrived than was published");
}

function bytes(size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, index) => index & 255);
}

function same(got: Message | undefined, was: Message): void {
  assert(got !== undefined, `message ${JSON.stringify(was.id)} did not arrive`);
  for (const field of ["id", "topic", "key", "time", "replyTo", "correlationId"] as const) assert.equal(got[field], was[field], field);
  assert.deepEqual({ ...got.headers }, { ...was.headers });
  if (was.body instanceof Uint8Array)
    assert(got.body instanceof Uint8Array && Buffer.compare(got.body, was.body) === 0, "the body differs");
  else assert.deepEqual(read(got), read(was));
}
