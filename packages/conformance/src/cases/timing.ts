import assert from "node:assert/strict";
import type { Case } from "../case.ts";
import { message, publishAll } from "../rig.ts";
import { ids, subscribe } from "../taker.ts";
import { acks, group, lastOne } from "./publish.ts";

export const timingCases: readonly Case[] = [
  {
    name: "a delayed message arrives when it is due, and holds up no other",
    covers: ["message.deliverAt", "capability.delay"],
    needs: ["delay"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("delay");
      const taker = await subscribe(rig, transport, { topic, group: group(rig) }, { ack: acks(rig) });
      const due = Date.now() + 200;
      const sent = [due + 40, due, due + 20].map((deliverAt) => message(rig, topic, { key: String(deliverAt), deliverAt }));
      const now = message(rig, topic, { key: "now" });
      await publishAll(rig, transport, [...sent, now]);
      const [first] = await taker.take(1);
      assert.equal(first?.message.id, now.id, "a delay held up another message");
      const early = new Set<string>();
      let seen = 1;
      await rig.until("the delayed ones", () => {
        for (; seen < taker.got.length; seen += 1) {
          const got = taker.got[seen]?.message;
          if (got !== undefined && Date.now() < (sent.find((each) => each.id === got.id)?.deliverAt ?? 0)) early.add(got.id);
        }
        return taker.got.length === 4;
      });
      assert.equal(early.size, 0, "delivered before it was due");
      assert.deepEqual(ids(taker.got.slice(1)).toSorted(), sent.map((each) => each.id).toSorted());
      assert((taker.at[3] ?? 0) - (taker.at[0] ?? 0) < 5_000, "delivered seconds late");
      rig.saw(4);
    },
  },
  {
    name: "an expired message does not arrive",
    covers: ["message.expiresAt", "capability.expiry"],
    needs: ["expiry", "credit"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("expiry");
      const member = group(rig);
      const taker = await subscribe(rig, transport, { topic, group: member, credit: { messages: 0, bytes: 0 } }, { ack: true });
      const expiresAt = Date.now() + 60;
      const stale = message(rig, topic, { key: "k", expiresAt });
      const fresh = message(rig, topic, { key: "k", expiresAt: Date.now() + 600_000 });
      await publishAll(rig, transport, [stale, fresh]);
      await rig.until("the expiry", () => Date.now() > expiresAt);
      taker.subscription.credit({ messages: 100, bytes: 1 << 20 });
      const [got] = await taker.take(1);
      assert.equal(got?.message.id, fresh.id, "an expired message arrived");
      assert.equal(got?.message.expiresAt, fresh.expiresAt);
      await lastOne(rig, transport, topic, taker, "k");
      rig.saw(2);
    },
  },
  {
    name: "a message of higher priority goes first",
    covers: ["message.priority", "capability.priority"],
    needs: ["priority", "credit"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("priority");
      const member = group(rig);
      const taker = await subscribe(rig, transport, { topic, group: member, credit: { messages: 0, bytes: 0 } }, { ack: true });
      const order = [1, 9, undefined, 5, 0, 9, 3];
      await publishAll(
        rig,
        transport,
        order.map((priority) => message(rig, topic, { key: String(priority), priority })),
      );
      taker.subscription.credit({ messages: 100, bytes: 1 << 20 });
      const got = (await taker.take(order.length)).map((delivery) => delivery.message.priority ?? 0);
      assert.deepEqual(got, [9, 9, 5, 3, 1, 0, 0]);
      rig.saw(order.length);
    },
  },
];
