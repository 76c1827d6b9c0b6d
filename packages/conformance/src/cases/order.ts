import assert from "node:assert/strict";
import type { Delivery, Position } from "@waybill/core";
import type { Case } from "../case.ts";
import { message, publishAll, read } from "../rig.ts";
import { ids, subscribe } from "../taker.ts";
import type { Taker } from "../taker.ts";
import { acks, group, offered } from "./publish.ts";

export const orderCases: readonly Case[] = [
  {
    name: "O01 O03 messages of one key arrive in the order they were published",
    covers: ["message.key"],
    async prove(rig) {
      const topic = rig.unique("order");
      const producers = await Promise.all([rig.transport(), rig.transport()]);
      const taker = await subscribe(rig, await rig.transport(), { topic, group: group(rig) }, { ack: acks(rig) });
      const each = rig.scale(300, 20_000);
      let sent = 0;
      await Promise.all(
        producers.map(async (producer, from) => {
          const all = Array.from({ length: each }, (_, count) =>
            message(rig, topic, { key: `p${from} k${count % 7}`, body: { from, count } }),
          );
          for (let at = 0; at < all.length;) {
            const size = 1 + Math.floor(rig.random() * Math.min(50, producer.lanes.maxMessages));
            await publishAll(rig, producer, all.slice(at, at + size));
            at += size;
            sent += Math.min(size, all.length - at + size);
            // What keeps nothing drops what its subscriber has no room for.
            if (!offered(rig, "settle")) await rig.until("room", () => sent - taker.got.length < 200);
          }
        }),
      );
      await taker.take(each * 2);
      const last = new Map<string, number>();
      for (const { message: got } of taker.got) {
        const { count } = read(got) as { count: number };
        const key = got.key ?? "";
        const before = last.get(key);
        assert(before === undefined ? count < 7 : count === before + 7, `key ${key}: ${count} came after ${before ?? "nothing"}`);
        last.set(key, count);
      }
      rig.saw(each * 2);
    },
  },
  {
    name: "O03 a key's next message waits for the earlier one, in every member",
    covers: ["subscribe.order", "capability.orderByKey"],
    needs: ["orderByKey", "settle", "groups"],
    async prove(rig) {
      const topic = rig.unique("serial");
      const member = rig.unique("g");
      const keys = 5;
      const each = 20;
      const takers: Taker[] = [];
      const holder = new Map<string, { owner: number; open: number }>();
      const next = new Map<string, number>();
      const wrong: string[] = [];
      let done = 0;
      const see = (owner: number, delivery: Delivery): void => {
        const key = delivery.message.key ?? "";
        const held = holder.get(key);
        if (held !== undefined && held.open > 0 && held.owner !== owner) wrong.push(`key ${key} is in two hands`);
        if (read(delivery.message) !== (next.get(key) ?? 0)) wrong.push(`key ${key} out of order`);
        next.set(key, (next.get(key) ?? 0) + 1);
        holder.set(key, { owner, open: (held?.open ?? 0) + 1 });
        // The acknowledgement is a little late, so that the next one has the time to be handed out too early.
        setTimeout(() => {
          holder.set(key, { owner, open: (holder.get(key)?.open ?? 1) - 1 });
          void takers[owner]?.ack(delivery).then(() => (done += 1));
        }, rig.random() * 3);
      };
      for (let owner = 0; owner < 3; owner += 1) {
        const credit = { messages: 2, bytes: 1 << 20 };
        const onDelivery = (delivery: Delivery): void => see(owner, delivery);
        takers.push(await subscribe(rig, await rig.transport(), { topic, group: member, order: "key", credit }, { onDelivery }));
      }
      const publisher = await rig.transport();
      await publishAll(
        rig,
        publisher,
        Array.from({ length: keys * each }, (_, at) => message(rig, topic, { key: `k${at % keys}`, body: Math.floor(at / keys) })),
      );
      await rig.until(`${keys * each} messages`, () => done === keys * each);
      assert.deepEqual(wrong, []);
      rig.saw(keys * each);
    },
  },
  {
    name: "O04 with order by key, a retried message stays ahead of its key",
    covers: ["subscribe.order"],
    needs: ["orderByKey", "settle", "retry"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("ahead");
      const taker = await subscribe(rig, transport, {
        topic,
        group: rig.unique("g"),
        order: "key",
        credit: { messages: 1, bytes: 1 << 20 },
      });
      const sent = [0, 1, 2].map((count) => message(rig, topic, { key: "k", body: count }));
      await publishAll(rig, transport, [...sent, message(rig, topic, { key: "other", body: "other" })]);
      const first = await taker.one();
      await taker.settle([{ kind: "retry", delivery: first, delayMs: 80, note: undefined }]);
      const order: unknown[] = [];
      while (order.length < 4) {
        const delivery = await taker.one();
        order.push(read(delivery.message));
        await taker.ack(delivery);
      }
      assert.deepEqual(
        order.filter((body) => body !== "other"),
        [0, 1, 2],
      );
      rig.saw(4);
    },
  },
  {
    name: "O05 one position is one message, for all readers",
    covers: ["delivery.position", "delivery.part"],
    async prove(rig) {
      const topic = rig.unique("position");
      const transport = await rig.transport();
      const takers = [
        await subscribe(rig, transport, { topic, group: group(rig) }),
        await subscribe(rig, await rig.transport(), { topic, group: group(rig) }),
      ];
      const sent = Array.from({ length: 200 }, (_, index) => message(rig, topic, { key: `k${index % 10}` }));
      await publishAll(rig, transport, sent);
      const at = new Map<string, string>();
      const parts = new Map<string, string>();
      const seen = new Map<string, Position | undefined>();
      for (const taker of takers) {
        for (const { message: got, part, position } of await taker.take(sent.length)) {
          const place = `${part} ${String(position)}`;
          if (position !== undefined) {
            assert.equal(at.get(place) ?? got.id, got.id, "two messages at one position");
            at.set(place, got.id);
            assert.equal(seen.get(got.id) ?? position, position, "one message at two positions");
            seen.set(got.id, position);
          }
          const key = got.key ?? "";
          assert.equal(parts.get(key) ?? part, part, "one key in two parts");
          parts.set(key, part);
        }
      }
      const keeps = offered(rig, "fromPosition") || offered(rig, "browse");
      if (keeps) assert.equal(at.size, sent.length, "a transport that starts at positions tells them");
      assert.equal(new Set(ids(takers.flatMap((taker) => taker.got))).size, sent.length);
      rig.saw(sent.length * 2);
    },
  },
];
