import assert from "node:assert/strict";
import { deadLetterGroup } from "@waybill/core";
import type { Case } from "../case.ts";
import { headers, message, publishAll, read } from "../rig.ts";
import { ids, subscribe } from "../taker.ts";
import { group, lastOne, offered } from "./publish.ts";

export const settleCases: readonly Case[] = [
  {
    name: "D01 D05 what is acknowledged never comes again, what is not comes to the next member",
    covers: ["capability.settle", "capability.settleConfirm", "settlement.kind", "settlement.delivery", "delivery.handle"],
    needs: ["settle"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("ack");
      const member = group(rig);
      const first = await subscribe(rig, transport, { topic, group: member });
      const sent = Array.from({ length: 10 }, () => message(rig, topic, { key: "k" }));
      await publishAll(rig, transport, sent);
      const got = await first.take(10);
      const outcomes = await first.ack(...got.slice(0, 5));
      if (offered(rig, "settleConfirm")) assert(outcomes.every((outcome) => outcome === "done"));
      await first.close();
      const second = await subscribe(rig, transport, { topic, group: member });
      assert.deepEqual(ids(await second.take(5)), ids(got.slice(5)));
      await second.ack(...second.got);
      await lastOne(rig, transport, topic, second, "k");
      rig.saw(10);
    },
  },
  {
    name: "D05 a confirmed acknowledgement outlives the member that made it",
    covers: ["capability.settleConfirm"],
    needs: ["settle", "settleConfirm", "fault:crash"],
    async prove(rig) {
      const broker = await rig.freshBroker();
      const topic = rig.unique("confirmed");
      const member = group(rig);
      const doomed = await rig.transport(broker);
      const first = await subscribe(rig, doomed, { topic, group: member });
      const transport = await rig.transport(broker);
      await publishAll(
        rig,
        transport,
        Array.from({ length: 20 }, () => message(rig, topic, { key: "k" })),
      );
      const got = await first.take(20);
      assert(
        (await first.ack(...got)).every((outcome) => outcome === "done"),
        "done is the transport's own word",
      );
      broker.faults.crash?.(doomed);
      const second = await subscribe(rig, transport, { topic, group: member });
      await lastOne(rig, transport, topic, second, "k");
      rig.saw(20);
    },
  },
  {
    name: "D03 acknowledging later messages never acknowledges an earlier one",
    covers: ["settlement.delivery", "delivery.position"],
    needs: ["settle"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("gap");
      const member = group(rig);
      const sent = Array.from({ length: rig.scale(100, 2_000) }, () => message(rig, topic, { key: "k" }));
      const first = await subscribe(rig, transport, { topic, group: member, credit: { messages: sent.length, bytes: 64 << 20 } });
      await publishAll(rig, transport, sent);
      const got = await first.take(sent.length);
      const unfinished = new Set<string>();
      const finished = got.filter((delivery) => (rig.random() < 0.1 ? (unfinished.add(delivery.message.id), false) : true));
      const gap = sent.find((each) => unfinished.has(each.id));
      for (const delivery of finished.toSorted(() => rig.random() - 0.5)) await first.ack(delivery);
      await first.close();
      const second = await subscribe(rig, transport, { topic, group: member }, { ack: true });
      const last = message(rig, topic, { key: "k" });
      await publishAll(rig, transport, [last]);
      await rig.until("the last message", () => second.got.some((delivery) => delivery.message.id === last.id));
      const again = new Set(ids(second.got));
      for (const id of unfinished) assert(again.has(id), "an unfinished message was lost");
      if (gap !== undefined)
        for (const before of sent.slice(0, sent.indexOf(gap))) assert(!again.has(before.id), "acknowledged, and it came again");
      rig.saw(sent.length);
    },
  },
  {
    name: "D13 a message to be retried comes again after the delay, and holds up no other",
    covers: ["capability.retry", "settlement.delayMs", "settlement.kind"],
    needs: ["settle", "retry"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("retry");
      const taker = await subscribe(rig, transport, { topic, group: group(rig) });
      const slow = message(rig, topic, { key: "slow" });
      const others = Array.from({ length: 20 }, (_, index) => message(rig, topic, { key: `other ${index}` }));
      await publishAll(rig, transport, [slow, ...others]);
      const got = await taker.take(21);
      const failed = got.find((delivery) => delivery.message.id === slow.id);
      assert(failed !== undefined);
      const delayMs = 150;
      const from = performance.now();
      const [outcome] = await taker.settle([{ kind: "retry", delivery: failed, delayMs, note: undefined }]);
      assert.equal(outcome, "done");
      await taker.ack(...got.filter((delivery) => delivery !== failed));
      const next = message(rig, topic, { key: "next" });
      await publishAll(rig, transport, [next]);
      const [passing] = await taker.take(1);
      assert.equal(passing?.message.id, next.id, "the delay held up another message");
      const again = await taker.one();
      assert.equal(again.message.id, slow.id);
      const tookMs = (taker.at.at(-1) ?? 0) - from;
      assert(tookMs >= delayMs - 2, `retried after ${tookMs} ms, asked for ${delayMs} ms`);
      await taker.ack(passing, again);
      await lastOne(rig, transport, topic, taker);
      rig.saw(22);
    },
  },
  {
    name: "D07 attempts are counted, and a release is none",
    covers: ["delivery.attempt", "capability.attempts"],
    needs: ["settle", "attempts", "retry"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("attempts");
      const taker = await subscribe(rig, transport, { topic, group: group(rig) });
      await publishAll(rig, transport, [message(rig, topic)]);
      for (let attempt = 1; attempt <= 4; attempt += 1) {
        const delivery = await taker.one();
        assert.equal(delivery.attempt, attempt);
        await taker.settle([{ kind: "retry", delivery, delayMs: 0, note: undefined }]);
      }
      const fifth = await taker.one();
      assert.equal(fifth.attempt, 5);
      await taker.settle([{ kind: "release", delivery: fifth }]);
      const released = await taker.one();
      assert(
        released.attempt !== undefined && released.attempt >= 5 && released.attempt <= 6,
        `attempt ${released.attempt} after a release`,
      );
      await taker.ack(released);
      rig.saw(1);
    },
  },
  {
    name: "D07 a redelivery is never read as a first one",
    covers: ["delivery.attempt", "delivery.takenOver"],
    needs: ["settle", "fault:crash"],
    async prove(rig) {
      const broker = await rig.freshBroker();
      const topic = rig.unique("again");
      const member = group(rig);
      const doomed = await rig.transport(broker);
      const first = await subscribe(rig, doomed, { topic, group: member, leaseMs: leaseMs(rig) });
      const transport = await rig.transport(broker);
      await publishAll(rig, transport, [message(rig, topic)]);
      const one = await first.one();
      assert(one.attempt === undefined || one.attempt === 1);
      assert.equal(one.takenOver, false, "no member has died yet");
      broker.faults.crash?.(doomed);
      const second = await subscribe(rig, transport, { topic, group: member });
      const two = await second.one();
      assert.equal(two.message.id, one.message.id);
      if (offered(rig, "attempts")) assert.equal(two.attempt, 2);
      else assert.equal(two.attempt, undefined);
      assert.equal(two.takenOver, !offered(rig, "attempts"), "taken over from a member that died");
      rig.saw(1);
    },
  },
  {
    name: "a released message comes again at once",
    covers: ["settlement.kind"],
    needs: ["settle", "retry"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("release");
      const taker = await subscribe(rig, transport, { topic, group: group(rig) });
      await publishAll(rig, transport, [message(rig, topic)]);
      const delivery = await taker.one();
      assert.deepEqual(await taker.settle([{ kind: "release", delivery }]), ["done"]);
      const again = await taker.one(Math.min(rig.waitMs, 2_000));
      assert.equal(again.message.id, delivery.message.id);
      await taker.ack(again);
      await lastOne(rig, transport, topic, taker);
      rig.saw(1);
    },
  },
  {
    name: "D16 a dead letter moves in one step, with headers added",
    covers: ["capability.deadLetter", "settlement.topic", "settlement.headers", "settlement.kind"],
    needs: ["settle", "deadLetter"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("failing");
      const grave = `${topic}.dead`;
      const member = group(rig);
      const taker = await subscribe(rig, transport, { topic, group: member });
      const sent = message(rig, topic, { key: "k", headers: headers({ kept: "yes" }) });
      await publishAll(rig, transport, [sent]);
      const delivery = await taker.one();
      const outcomes = await taker.settle([{ kind: "dead-letter", delivery, topic: grave, headers: headers({ cause: "tried" }) }]);
      assert.deepEqual(outcomes, ["done"]);
      await lastOne(rig, transport, topic, taker, "k");
      const dead = await subscribe(rig, transport, { topic: grave, group: deadLetterGroup });
      const letter = await dead.one();
      assert.equal(letter.message.id, sent.id);
      assert.equal(letter.message.key, "k");
      assert.deepEqual(read(letter.message), read(sent));
      assert.deepEqual({ ...letter.message.headers }, { kept: "yes", cause: "tried" });
      await dead.ack(letter);
      rig.saw(1);
    },
  },
  {
    name: "a note stays with the message for its group",
    covers: ["capability.note", "settlement.note", "delivery.note"],
    needs: ["settle", "note"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("note");
      const member = group(rig);
      const taker = await subscribe(rig, transport, { topic, group: member });
      await publishAll(rig, transport, [message(rig, topic, { key: "k" })]);
      const first = await taker.one();
      assert.equal(first.note, undefined);
      if (offered(rig, "retry")) {
        await taker.settle([{ kind: "retry", delivery: first, delayMs: 0, note: "tried once" }]);
        const second = await taker.one();
        assert.equal(second.note, "tried once");
        await taker.settle([{ kind: "extend", delivery: second, note: "x".repeat(1_024) }]);
      } else {
        await taker.settle([{ kind: "extend", delivery: first, note: "x".repeat(1_024) }]);
      }
      await taker.close();
      const next = await subscribe(rig, transport, { topic, group: member });
      const last = await next.one();
      assert.equal(last.note, "x".repeat(1_024));
      await next.ack(last);
      rig.saw(1);
    },
  },
];

/** A short lease that the transport can still keep. */
export function leaseMs(rig: {
  readonly capabilities: { readonly lease: { readonly limits?: Readonly<Record<string, number>> } };
}): number {
  return Math.max(250, rig.capabilities.lease.limits?.["minMs"] ?? 0);
}
