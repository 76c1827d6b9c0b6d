import assert from "node:assert/strict";
import type { Case } from "../case.ts";
import { message, publish, publishAll } from "../rig.ts";
import { ids, subscribe } from "../taker.ts";
import { acks, group, lastOne, offered } from "./publish.ts";
import { leaseMs } from "./settle.ts";

export const flowCases: readonly Case[] = [
  ...[1, 10, 100].map((messages): Case => ({
    name: `C11 never more than a credit of ${messages} unsettled`,
    covers: ["subscribe.credit", "capability.credit"],
    needs: ["credit"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("credit");
      const taker = await subscribe(rig, transport, { topic, group: group(rig), credit: { messages, bytes: 1 << 20 } });
      const sent = Array.from({ length: 300 }, () => message(rig, topic, { key: "k" }));
      await publishAll(rig, transport, sent);
      let settled = 0;
      while (settled < sent.length) {
        await rig.until("more deliveries", () => taker.got.length > settled);
        await new Promise(setImmediate);
        assert(taker.got.length - settled <= messages, `${taker.got.length - settled} unsettled with a credit of ${messages}`);
        const now = taker.got.slice(settled, settled + 1 + Math.floor(rig.random() * messages));
        await taker.ack(...now);
        settled += now.length;
      }
      assert.equal(new Set(ids(taker.got)).size, sent.length);
      rig.saw(sent.length);
    },
  })),
  {
    name: "C11 credit in bytes, changed and paused",
    covers: ["subscribe.credit", "capability.credit"],
    needs: ["credit"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("bytes");
      const taker = await subscribe(rig, transport, { topic, group: group(rig), credit: { messages: 0, bytes: 1 << 20 } });
      const sent = Array.from({ length: 40 }, () => message(rig, topic, { key: "k", body: new Uint8Array(1_000) }));
      const elsewhere = rig.unique("elsewhere");
      const other = await subscribe(rig, transport, { topic: elsewhere, group: group(rig) });
      await publishAll(rig, transport, sent);
      await lastOne(rig, transport, elsewhere, other);
      assert.equal(taker.got.length, 0, "a credit of 0 messages pauses");
      taker.subscription.credit({ messages: 100, bytes: 5_000 });
      await rig.until("what fits 5,000 bytes", () => taker.got.length >= 4);
      await lastOne(rig, transport, elsewhere, other);
      assert(taker.got.length <= 6, `${taker.got.length} messages of 1,000 bytes with a credit of 5,000 bytes`);
      taker.subscription.credit({ messages: 100, bytes: 1 << 20 });
      await rig.until("the rest", () => taker.got.length === sent.length);
      await taker.ack(...taker.got);
      rig.saw(sent.length);
    },
  },
  {
    name: "C11 one message above the credit in bytes still arrives",
    covers: ["subscribe.credit"],
    needs: ["credit"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("wide");
      const taker = await subscribe(rig, transport, { topic, group: group(rig), credit: { messages: 10, bytes: 500 } });
      const sent = [0, 1].map(() => message(rig, topic, { key: "k", body: new Uint8Array(2_000) }));
      await publishAll(rig, transport, sent);
      for (const each of sent) {
        const delivery = await taker.one();
        assert.equal(delivery.message.id, each.id);
        await taker.ack(delivery);
      }
      rig.saw(2);
    },
  },
  {
    name: "D21 C09 what a slow subscriber misses is counted, never repeated",
    covers: ["subscribe.onEvent"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("slow");
      const awake = Promise.withResolvers<void>();
      const asked = { topic, group: group(rig), leaseMs: Math.max(30_000, leaseMs(rig)), credit: { messages: 20, bytes: 1 << 20 } };
      const slow = await subscribe(rig, transport, asked, { gate: () => awake.promise });
      slow.subscription.credit({ messages: 0, bytes: 0 });
      // A log keeps what its retention says, which this stays below.
      const count = rig.scale(30_000, offered(rig, "settle") ? 90_000 : 300_000);
      const size = Math.min(500, transport.lanes.maxMessages);
      for (let at = 0; at < count; at += size) {
        const outcomes = await publish(
          rig,
          transport,
          Array.from({ length: size }, () => message(rig, topic, { key: "k", body: "small" })),
        );
        for (const outcome of outcomes) if (!outcome.ok) throw outcome.error;
      }
      awake.resolve();
      slow.subscription.credit({ messages: 10_000, bytes: 64 << 20 });
      let settled = 0;
      const missed = (): number => slow.events.reduce((sum, event) => sum + (event.kind === "gap" ? (event.count ?? Number.NaN) : 0), 0);
      const published = Math.ceil(count / size) * size;
      await rig.until("all arrived or counted", async () => {
        if (acks(rig) && settled < slow.got.length) {
          const now = slow.got.slice(settled);
          settled = slow.got.length;
          await slow.ack(...now);
        }
        return slow.got.length + missed() >= published;
      });
      assert.equal(slow.got.length + missed(), published);
      assert.equal(new Set(ids(slow.got)).size, slow.got.length, "repeated");
      if (offered(rig, "settle")) assert.equal(missed(), 0, "a transport that keeps what is unsettled misses nothing");
      else assert(missed() > 0, "a buffer without a bound");
      rig.saw(published);
    },
  },
];
