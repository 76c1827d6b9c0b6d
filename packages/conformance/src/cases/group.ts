import assert from "node:assert/strict";
import type { Case } from "../case.ts";
import { message, publishAll } from "../rig.ts";
import { ids, subscribe } from "../taker.ts";
import { acks, group, lastOne, offered } from "./publish.ts";

export const groupCases: readonly Case[] = [
  {
    name: "D19 D08 every group gets all, its members share",
    covers: ["capability.groups", "subscribe.group"],
    needs: ["groups"],
    async prove(rig) {
      const topic = rig.unique("shared");
      const groups = ["a", "b", "c"].map((label) => rig.unique(label));
      const transports = await Promise.all([rig.transport(), rig.transport()]);
      const takers = await Promise.all(
        groups.flatMap((name) =>
          Array.from({ length: 5 }, async (_, index) => ({
            name,
            taker: await subscribe(
              rig,
              transports[index % 2] ?? transports[0],
              { topic, group: name, credit: { messages: 10, bytes: 1 << 20 } },
              { ack: acks(rig) },
            ),
          })),
        ),
      );
      const sent = Array.from({ length: rig.scale(500, 20_000) }, (_, index) => message(rig, topic, { key: `key ${index % 50}` }));
      const taken = (name: string): number =>
        takers.filter((each) => each.name === name).reduce((sum, each) => sum + each.taker.got.length, 0);
      // What keeps nothing drops what its members have no room for.
      const slice = offered(rig, "settle") ? sent.length : 10;
      for (let at = 0; at < sent.length; at += slice) {
        await publishAll(rig, transports[0], sent.slice(at, at + slice));
        const soFar = Math.min(sent.length, at + slice);
        for (const name of groups) await rig.until(`all of group ${name}`, () => taken(name) >= soFar);
      }
      for (const name of groups) {
        const mine = takers.filter((each) => each.name === name);
        const got = mine.flatMap((each) => ids(each.taker.got));
        assert.equal(new Set(got).size, sent.length);
        if (!offered(rig, "revocation")) assert.equal(got.length, sent.length, "a member got what another one had in hand");
        assert(mine.filter((each) => each.taker.got.length > 0).length > 1, "one member alone got everything");
      }
      rig.saw(sent.length * groups.length);
    },
  },
  {
    name: "D19 a group remembers its place, a new one starts with what comes",
    covers: ["subscribe.group", "subscribe.from"],
    needs: ["groups", "settle"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("place");
      const member = rig.unique("g");
      const first = await subscribe(rig, transport, { topic, group: member });
      await first.close();
      const sent = [message(rig, topic, { key: "k" }), message(rig, topic, { key: "k" })];
      await publishAll(rig, transport, sent);
      const newcomer = await subscribe(rig, transport, { topic, group: rig.unique("new") });
      const back = await subscribe(rig, transport, { topic, group: member });
      assert.deepEqual(ids(await back.take(2)), ids(sent.map((each) => ({ message: each }) as never)));
      await lastOne(rig, transport, topic, newcomer, "k");
      rig.saw(2);
    },
  },
  {
    name: "a message for one group goes to it alone, and waits for it",
    covers: ["message.group", "capability.publishToGroup"],
    needs: ["publishToGroup"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("addressed");
      const [mine, other, later] = [rig.unique("mine"), rig.unique("other"), rig.unique("later")];
      const takers = await Promise.all([mine, other].map((name) => subscribe(rig, transport, { topic, group: name }, { ack: true })));
      const sent = message(rig, topic, { group: mine, key: "k" });
      const kept = message(rig, topic, { group: later, key: "k" });
      await publishAll(rig, transport, [sent, kept]);
      const all = message(rig, topic, { key: "k" });
      await publishAll(rig, transport, [all]);
      assert.deepEqual(ids((await takers[0]?.take(2)) ?? []).toSorted(), [sent.id, all.id].toSorted());
      assert.deepEqual(ids((await takers[1]?.take(1)) ?? []), [all.id]);
      const late = await subscribe(rig, transport, { topic, group: later }, { ack: true });
      const got = await late.one();
      assert.equal(got.message.id, kept.id);
      assert.equal(got.message.topic, topic);
      rig.saw(3);
    },
  },
  {
    name: "a reader sees all and takes nothing",
    covers: ["capability.reader", "subscribe.group"],
    needs: ["reader"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("read");
      const takers = await Promise.all([
        subscribe(rig, transport, { topic }),
        subscribe(rig, await rig.transport(), { topic }),
        ...(offered(rig, "groups") ? [subscribe(rig, transport, { topic, group: rig.unique("g") }, { ack: acks(rig) })] : []),
      ]);
      const sent = Array.from({ length: 50 }, () => message(rig, topic, { key: "k" }));
      await publishAll(rig, transport, sent);
      for (const taker of takers)
        assert.deepEqual(ids(await taker.take(sent.length)), ids(sent.map((each) => ({ message: each }) as never)));
      const last = message(rig, topic, { key: "k" });
      await publishAll(rig, transport, [last]);
      for (const taker of takers) {
        assert.deepEqual(ids(await taker.take(1)), [last.id]);
        assert.equal(taker.got.length, sent.length + 1);
      }
      rig.saw(sent.length * takers.length);
    },
  },
  {
    name: "a pattern takes the topics that it names, and no other",
    covers: ["capability.patterns", "subscribe.pattern"],
    needs: ["patterns"],
    async prove(rig) {
      const transport = await rig.transport();
      const root = rig.unique("orders");
      const topics = {
        one: `${root}.eu.placed`,
        two: `${root}.us.placed`,
        deep: `${root}.eu.placed.late`,
        short: `${root}.eu`,
        other: `x${root}.eu.placed`,
      };
      const star = await subscribe(rig, transport, { pattern: `${root}.*.placed`, group: group(rig) }, { ack: acks(rig) });
      const rest = await subscribe(rig, transport, { pattern: `${root}.>`, group: group(rig) }, { ack: acks(rig) });
      for (const topic of Object.values(topics)) await publishAll(rig, transport, [message(rig, topic, { key: "k" })]);
      await publishAll(rig, transport, [message(rig, root, { key: "k" })]);
      const topicsOf = (taker: typeof star): string[] => taker.got.map((delivery) => delivery.message.topic);
      await star.take(2);
      await rest.take(4);
      await publishAll(rig, transport, [message(rig, `${root}.last.placed`, { key: "k" })]);
      await star.one();
      await rest.one();
      assert.deepEqual(topicsOf(star).toSorted(), [topics.one, topics.two, `${root}.last.placed`].toSorted());
      assert.deepEqual(topicsOf(rest).toSorted(), [topics.one, topics.two, topics.deep, topics.short, `${root}.last.placed`].toSorted());
      rig.saw(7);
    },
  },
  {
    name: "D11 a member that leaves cleanly leaves no duplicates",
    covers: ["capability.settle"],
    needs: ["groups", "settle"],
    async prove(rig) {
      const topic = rig.unique("rolling");
      const member = rig.unique("g");
      const publisher = await rig.transport();
      const seen: string[] = [];
      const join = async (): Promise<Awaited<ReturnType<typeof subscribe>>> =>
        subscribe(rig, await rig.transport(), { topic, group: member, credit: { messages: 10, bytes: 1 << 20 } }, { ack: true });
      let members = [await join(), await join()];
      const sent: string[] = [];
      for (let round = 0; round < rig.scale(10, 40); round += 1) {
        const batch = Array.from({ length: 20 }, (_, index) => message(rig, topic, { key: `key ${index}` }));
        sent.push(...batch.map((each) => each.id));
        await publishAll(rig, publisher, batch);
        const [leaver, ...stay] = members;
        await rig.until("all of a round", () => seen.length + members.reduce((sum, each) => sum + each.acked.length, 0) >= sent.length);
        await leaver?.close();
        seen.push(...ids(leaver?.acked ?? []));
        members = [...stay, await join()];
      }
      for (const each of members) seen.push(...ids(each.acked));
      assert.deepEqual(seen.toSorted(), sent.toSorted(), "each once");
      rig.saw(sent.length);
    },
  },
];
