import assert from "node:assert/strict";
import type { StartPosition } from "@waybill/core";
import type { Case } from "../case.ts";
import { message, publishAll } from "../rig.ts";
import type { Rig } from "../rig.ts";
import { ids, subscribe } from "../taker.ts";
import { acks, group, lastOne, offered } from "./publish.ts";

export const startCases: readonly Case[] = [
  {
    name: "D20 earliest: a new group, and a reader, begin with all that is kept",
    covers: ["subscribe.from", "capability.fromEarliest"],
    needs: ["fromEarliest"],
    async prove(rig) {
      const { topic, sent } = await kept(rig);
      for (const reader of readers(rig)) {
        const taker = await from(rig, topic, "earliest", reader);
        assert.deepEqual(ids(await taker.take(sent.length)), sent);
      }
      rig.saw(sent.length);
    },
  },
  {
    name: "D20 a position: begins there, not before and not after",
    covers: ["subscribe.from", "capability.fromPosition", "delivery.position"],
    needs: ["fromPosition", "fromEarliest"],
    async prove(rig) {
      const { topic, sent } = await kept(rig);
      const all = await from(rig, topic, "earliest", group(rig));
      const places = (await all.take(sent.length)).map((delivery) => delivery.position);
      assert.equal(new Set(places).size, sent.length, "one position, one message");
      for (const reader of readers(rig)) {
        const position = places[5];
        assert(position !== undefined, "a transport that keeps positions tells them");
        const taker = await from(rig, topic, { position }, reader);
        assert.deepEqual(ids(await taker.take(sent.length - 5)), sent.slice(5));
      }
      rig.saw(sent.length);
    },
  },
  {
    name: "D20 a time: begins with what was published at it or later",
    covers: ["subscribe.from", "capability.fromTime", "message.time"],
    needs: ["fromTime"],
    async prove(rig) {
      const { topic, sent } = await kept(rig);
      const transport = await rig.transport();
      const begun = Date.now();
      await rig.until("the next millisecond but one", () => Date.now() > begun + 1);
      const time = Date.now();
      const later = Array.from({ length: 5 }, () => message(rig, topic, { key: "k" }));
      await publishAll(rig, transport, later);
      for (const reader of readers(rig)) {
        const taker = await from(rig, topic, { time }, reader);
        assert.deepEqual(
          ids(await taker.take(later.length)),
          later.map((each) => each.id),
        );
      }
      rig.saw(sent.length);
    },
  },
  {
    name: "D20 latest: a new group begins with what comes, and a reader too",
    covers: ["subscribe.from"],
    async prove(rig) {
      const { topic } = await kept(rig);
      const transport = await rig.transport();
      for (const reader of readers(rig)) {
        const taker = await from(rig, topic, "latest", reader);
        await lastOne(rig, transport, topic, taker, "k");
      }
      rig.saw(10);
    },
  },
  {
    name: "D22 nothing is missed once subscribing has resolved",
    covers: ["subscribe.topic"],
    async prove(rig) {
      const transport = await rig.transport();
      const other = await rig.transport();
      const rounds = rig.scale(50, 1_000);
      for (let round = 0; round < rounds; round += 1) {
        const topic = rig.unique("ready");
        const taker = await subscribe(rig, transport, { topic, group: group(rig) }, { ack: acks(rig) });
        const sent = message(rig, topic);
        await publishAll(rig, round % 2 === 0 ? transport : other, [sent]);
        assert.deepEqual(ids(await taker.take(1)), [sent.id]);
        await taker.close();
      }
      rig.saw(rounds);
    },
  },
  {
    name: "subscribing is given up when its signal fires",
    covers: ["subscribe.signal"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("aborted");
      await assert.rejects(async () => void (await subscribe(rig, transport, { topic, group: group(rig), signal: AbortSignal.abort() })), {
        code: "ABORTED",
      });
      const gone = new AbortController();
      const taker = await subscribe(rig, transport, { topic, group: group(rig), signal: gone.signal });
      gone.abort();
      await lastOne(rig, transport, topic, taker);
      rig.saw(1);
    },
  },
  {
    name: "a group goes on where it was sent to",
    covers: ["capability.seek"],
    needs: ["seek", "settle", "fromEarliest"],
    async prove(rig) {
      const { topic, sent } = await kept(rig);
      const transport = await rig.transport();
      const member = rig.unique("g");
      const first = await subscribe(rig, transport, { topic, group: member, from: "earliest" }, { ack: true });
      await first.take(sent.length);
      await rig.until("all acknowledged", () => first.acked.length === sent.length);
      await assert.rejects(async () => transport.seek?.(topic, member, "earliest"), { code: "BUSY" });
      await first.close();
      assert(transport.seek !== undefined, "declared and not there");
      await transport.seek(topic, member, "earliest");
      const again = await subscribe(rig, transport, { topic, group: member }, { ack: true });
      assert.deepEqual(ids(await again.take(sent.length)), sent);
      await rig.until("all acknowledged", () => again.acked.length === sent.length);
      await again.close();
      await transport.seek(topic, member, "latest");
      const last = await subscribe(rig, transport, { topic, group: member }, { ack: true });
      await lastOne(rig, transport, topic, last, "k");
      rig.saw(sent.length * 2);
    },
  },
];

/** Ten messages of one key that somebody has kept: a group that nobody reads makes a queue keep them. */
async function kept(rig: Rig): Promise<{ readonly topic: string; readonly sent: readonly string[] }> {
  const transport = await rig.transport();
  const topic = rig.unique("kept");
  const keeper = await subscribe(rig, transport, { topic, group: group(rig, "keeper") });
  await keeper.close();
  const sent = Array.from({ length: 10 }, () => message(rig, topic, { key: "k" }));
  await publishAll(rig, transport, sent);
  return { topic, sent: sent.map((each) => each.id) };
}

function readers(rig: Rig): readonly (string | undefined)[] {
  const groups = offered(rig, "groups") ? [rig.unique("g")] : [];
  return offered(rig, "reader") ? [...groups, undefined] : groups;
}

async function from(rig: Rig, topic: string, start: StartPosition, member: string | undefined): ReturnType<typeof subscribe> {
  return subscribe(rig, await rig.transport(), { topic, group: member, from: start });
}
