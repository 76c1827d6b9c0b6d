/** How the absence of each capability shows: what asks for it is refused with `CAPABILITY`, or is not there at all. */
import assert from "node:assert/strict";
import { capabilityNames, createBus, event } from "@waybill/core";
import type { CapabilityName, Message, Transport } from "@waybill/core";
import { headers, message, publish, publishAll } from "./rig.ts";
import type { Rig } from "./rig.ts";
import { definite, refusesSubscribe, subscribe } from "./taker.ts";
import type { Need } from "./case.ts";
import { acks, group, offered } from "./cases/publish.ts";

type Refusal = (rig: Rig) => Promise<void>;

const atPublish =
  (fields: Partial<Message>): Refusal =>
  async (rig) => {
    const transport = await rig.transport();
    const topic = rig.unique("refused");
    const taker = await subscribe(rig, transport, { topic, group: group(rig) }, { ack: acks(rig) });
    const [outcome] = await publish(rig, transport, [message(rig, topic, fields)]);
    definite(outcome, "CAPABILITY");
    const last = message(rig, topic);
    await publishAll(rig, transport, [last]);
    assert.deepEqual(
      (await taker.take(1)).map((delivery) => delivery.message.id),
      [last.id],
      "refused, and it arrived",
    );
  };

const atSubscribe =
  (fields: (rig: Rig) => Parameters<typeof refusesSubscribe>[2]): Refusal =>
  async (rig) =>
    refusesSubscribe(rig, await rig.transport(), fields(rig), "CAPABILITY");

const noFace =
  (call: (transport: Transport, rig: Rig) => Promise<unknown> | undefined): Refusal =>
  async (rig) => {
    const transport = await rig.transport();
    await assert.rejects(
      async () => {
        const answer = call(transport, rig);
        // The member is not there: as good as a refusal, and the core takes it for one.
        if (answer === undefined) throw Object.assign(new Error("no such member"), { code: "CAPABILITY" });
        await answer;
      },
      { code: "CAPABILITY" },
    );
  };

/** What is asked of a delivery is refused, and the delivery stays as it was. */
const atSettle =
  (kind: "retry" | "dead-letter" | "note"): Refusal =>
  async (rig) => {
    if (!offered(rig, "settle")) return byGuarantee({ delivery: "at-least-once" })(rig);
    const transport = await rig.transport();
    const topic = rig.unique("refused");
    const taker = await subscribe(rig, transport, { topic, group: group(rig) });
    await publishAll(rig, transport, [message(rig, topic)]);
    const delivery = await taker.one();
    await assert.rejects(
      taker.settle([
        kind === "retry"
          ? { kind, delivery, delayMs: 10, note: undefined }
          : kind === "note"
            ? { kind: "extend", delivery, note: "text" }
            : { kind, delivery, topic: `${topic}.dead`, headers: headers({}) },
      ]),
      { code: "CAPABILITY" },
    );
    assert.notDeepEqual(await taker.ack(delivery), ["lost"], "the refusal took the delivery away");
  };

/** The bus refuses at start what its user requires of the transport. */
const byGuarantee =
  (require: NonNullable<Parameters<typeof createBus>[0]["require"]>): Refusal =>
  async (rig) => {
    const bus = createBus({ name: "requires", transport: rig.raw(), require });
    rig.defer(() => bus.close({ drain: 0 }));
    bus.subscribe(event(rig.unique("required")), { group: "g", delivery: "at-most-once" }, () => undefined);
    await assert.rejects(rig.within("start", bus.start()), { code: "CAPABILITY" });
  };

export const refusals: Readonly<Record<CapabilityName, Refusal>> & { readonly keeps: Refusal } = {
  keeps: byGuarantee({ durability: "D1" }),
  confirm: byGuarantee({ delivery: "at-least-once" }),
  mandatory: atPublish({ mandatory: true }),
  headers: atPublish({ headers: headers({ a: "b" }) }),
  tombstone: atPublish({ body: null }),
  delay: atPublish({ deliverAt: Date.now() + 3_600_000 }),
  expiry: atPublish({ expiresAt: Date.now() + 3_600_000 }),
  priority: atPublish({ priority: 5 }),
  publishToGroup: atPublish({ group: "g" }),
  deduplication: async (rig) => {
    const transport = await rig.transport();
    const topic = rig.unique("repeat");
    const taker = await subscribe(rig, transport, { topic, group: group(rig) }, { ack: acks(rig) });
    const one = message(rig, topic);
    await publishAll(rig, transport, [one, one]);
    assert.equal(new Set((await taker.take(2)).map((delivery) => delivery.message.id)).size, 1);
  },
  groups: atSubscribe((rig) => ({ topic: rig.unique("t"), group: rig.unique("g") })),
  reader: atSubscribe((rig) => ({ topic: rig.unique("t") })),
  patterns: atSubscribe((rig) => ({ pattern: `${rig.unique("t")}.>`, group: group(rig) })),
  fromEarliest: atSubscribe((rig) => ({ topic: rig.unique("t"), group: group(rig), from: "earliest" })),
  fromPosition: atSubscribe((rig) => ({ topic: rig.unique("t"), group: group(rig), from: { position: 0 } })),
  fromTime: atSubscribe((rig) => ({ topic: rig.unique("t"), group: group(rig), from: { time: Date.now() } })),
  orderByKey: atSubscribe((rig) => ({ topic: rig.unique("t"), group: group(rig), order: "key" })),
  inbox: atSubscribe(() => ({ inbox: true })),
  settle: byGuarantee({ delivery: "at-least-once" }),
  settleConfirm: async (rig) => {
    if (!offered(rig, "settle")) return byGuarantee({ delivery: "at-least-once" })(rig);
    const { delivery, taker } = await oneDelivery(rig);
    assert.notDeepEqual(await taker.ack(delivery), ["lost"], "not confirmed is not lost");
  },
  attempts: async (rig) => assert.equal((await oneDelivery(rig)).delivery.attempt, undefined, "counted, and not declared"),
  lease: async (rig) => assert.equal((await oneDelivery(rig)).delivery.leaseMs, undefined, "a lease runs, and is not declared"),
  retry: atSettle("retry"),
  deadLetter: atSettle("dead-letter"),
  note: atSettle("note"),
  credit: async (rig) => {
    const { delivery, taker, transport } = await oneDelivery(rig);
    taker.subscription.credit({ messages: 0, bytes: 0 });
    await publishAll(rig, transport, [message(rig, delivery.message.topic)]);
    await rig.until("the next message, or a gap", () => taker.got.length === 2 || taker.events.some((event) => event.kind === "gap"));
  },
  revocation: async (rig) => assert.equal((await oneDelivery(rig)).delivery.part, "", "parts that can be revoked, and it is not declared"),
  noResponders: async (rig) => {
    const transport = await rig.transport();
    const [outcome] = await publish(rig, transport, [message(rig, rig.unique("nobody"), { replyTo: rig.unique("reply") })]);
    assert.equal(outcome?.ok, true, "refused for want of a responder, and not declared");
  },
  transaction: noFace((transport, rig) => transport.begin?.({ signal: rig.signal })),
  inspect: noFace((transport, rig) => transport.inspect?.(rig.unique("t"), "g")),
  topology: noFace((transport, rig) => transport.declare?.({ topics: [rig.unique("t")], groups: [] })),
  browse: noFace((transport, rig) =>
    transport.browse?.({ topic: rig.unique("t"), group: "g", after: undefined, limit: 1, signal: rig.signal }),
  ),
  remove: noFace((transport, rig) => transport.remove?.(rig.unique("t"), "g", [0])),
  seek: noFace((transport, rig) => transport.seek?.(rig.unique("t"), "g", "earliest")),
};

async function oneDelivery(rig: Rig) {
  const transport = await rig.transport();
  const topic = rig.unique("one");
  const taker = await subscribe(rig, transport, { topic, group: group(rig) });
  await publishAll(rig, transport, [message(rig, topic)]);
  return { transport, taker, delivery: await taker.one() };
}

/** What the transport does not offer of these. */
export function missing(rig: Rig, needs: readonly Need[]): readonly (keyof typeof refusals)[] {
  return needs.flatMap((need) => {
    if (need === "keeps") return rig.capabilities.durability === "D0" ? [need] : [];
    return isCapability(need) && !offered(rig, need) ? [need] : [];
  });
}

function isCapability(need: Need): need is CapabilityName {
  return (capabilityNames as readonly string[]).includes(need);
}
