import assert from "node:assert/strict";
import type { Case } from "../case.ts";
import { message, publish, publishAll } from "../rig.ts";
import type { Rig } from "../rig.ts";
import { definite, ids, subscribe } from "../taker.ts";
import { lastOne, offered } from "./publish.ts";

export const faceCases: readonly Case[] = [
  {
    name: "inspect tells what a group has left",
    covers: ["capability.inspect"],
    needs: ["inspect", "settle", "groups"],
    async prove(rig) {
      const transport = await rig.transport();
      assert(transport.inspect !== undefined, "declared and not there");
      const topic = rig.unique("inspect");
      const member = rig.unique("g");
      const taker = await subscribe(rig, transport, { topic, group: member, credit: { messages: 2, bytes: 1 << 20 } });
      const empty = await transport.inspect(topic, member);
      known(empty.depth, 0);
      await publishAll(
        rig,
        transport,
        Array.from({ length: 5 }, () => message(rig, topic, { key: "k" })),
      );
      await taker.take(offered(rig, "credit") ? 2 : 5);
      const full = await transport.inspect(topic, member);
      known(full.depth, 5);
      // Some count what was not handed out, some what is not settled.
      if (typeof full.lagMessages === "number")
        assert(full.lagMessages >= 5 - taker.got.length && full.lagMessages <= 5, `a lag of ${full.lagMessages}`);
      else known(full.lagMessages, 5);
      known(full.inFlight, taker.got.length);
      if (typeof full.oldestAgeMs === "number") assert(full.oldestAgeMs >= 0 && full.oldestAgeMs < 60_000);
      if (!("unknown" in full.consumers)) assert.equal(full.consumers.length, 1);
      let settled = 0;
      while (settled < 5) {
        await rig.until("more deliveries", () => taker.got.length > settled);
        const now = taker.got.slice(settled);
        settled += now.length;
        await taker.ack(...now);
      }
      await rig.until("a depth of 0", async () => {
        const { depth } = (await transport.inspect?.(topic, member)) ?? { depth: 1 };
        return typeof depth !== "number" || depth === 0;
      });
      rig.saw(5);
    },
  },
  {
    name: "topology is checked without a change, and declared",
    covers: ["capability.topology"],
    needs: ["topology"],
    async prove(rig) {
      const transport = await rig.transport();
      assert(transport.check !== undefined && transport.declare !== undefined, "declared and not there");
      const topic = rig.unique("made");
      const member = rig.unique("g");
      const topology = { topics: [topic], groups: offered(rig, "groups") ? [{ topic, group: member }] : [] };
      const missing = await transport.check(topology);
      assert(missing.length > 0, "nothing is there yet");
      assert.deepEqual(await transport.check(topology), missing, "a check changed something");
      const made = await transport.declare(topology);
      assert.equal(made.length, missing.length);
      assert.deepEqual(await transport.check(topology), []);
      assert.deepEqual(await transport.declare(topology), []);
      if (!offered(rig, "groups")) return;
      const sent = message(rig, topic, { key: "k" });
      await publishAll(rig, transport, [sent]);
      const taker = await subscribe(rig, transport, { topic, group: member });
      assert.deepEqual(ids(await taker.take(1)), [sent.id], "a declared group keeps what is published");
      rig.saw(1);
    },
  },
  {
    name: "browse looks, page by page, and takes nothing",
    covers: ["capability.browse"],
    needs: ["browse", "settle", "groups"],
    async prove(rig) {
      const { transport, topic, member, sent } = await waiting(rig);
      assert(transport.browse !== undefined, "declared and not there");
      const seen: string[] = [];
      let after: string | number | undefined;
      for (let page = 0; page < 10; page += 1) {
        const found = await transport.browse({ topic, group: member, after, limit: 3, signal: rig.signal });
        assert(found.length <= 3);
        if (found.length === 0) break;
        seen.push(...found.map((each) => each.message.id));
        after = found.at(-1)?.position;
      }
      assert.deepEqual(seen, sent);
      const taker = await subscribe(rig, transport, { topic, group: member });
      assert.deepEqual(ids(await taker.take(sent.length)), sent);
      await taker.ack(...taker.got.slice(0, 4));
      await rig.until("only what is not settled", async () => {
        const left = (await transport.browse?.({ topic, group: member, after: undefined, limit: 100, signal: rig.signal })) ?? [];
        return left.length === sent.length - 4 && left[0]?.message.id === sent[4];
      });
      rig.saw(sent.length);
    },
  },
  {
    name: "remove settles for the group what browse showed",
    covers: ["capability.remove"],
    needs: ["remove", "browse", "settle", "groups"],
    async prove(rig) {
      const { transport, topic, member, sent } = await waiting(rig);
      assert(transport.remove !== undefined, "declared and not there");
      const found = (await transport.browse?.({ topic, group: member, after: undefined, limit: 100, signal: rig.signal })) ?? [];
      const positions = found.filter((_, index) => index % 2 === 0).map((each) => each.position);
      assert.equal(await transport.remove(topic, member, positions), positions.length);
      assert.equal(await transport.remove(topic, member, positions), 0, "they were not there any more");
      const left = sent.filter((_, index) => index % 2 === 1);
      const taker = await subscribe(rig, transport, { topic, group: member }, { ack: true });
      assert.deepEqual(ids(await taker.take(left.length)), left);
      await lastOne(rig, transport, topic, taker, "k");
      rig.saw(sent.length);
    },
  },
  {
    name: "an inbox is an address of this instance alone",
    covers: ["capability.inbox", "subscribe.inbox", "message.replyTo"],
    needs: ["inbox"],
    async prove(rig) {
      const [asking, answering] = await Promise.all([rig.transport(), rig.transport()]);
      const mine = await subscribe(rig, asking, { inbox: true });
      const another = await subscribe(rig, answering, { inbox: true });
      const { address } = mine.subscription;
      assert(typeof address === "string" && address.length > 0);
      assert.notEqual(address, another.subscription.address);
      const answer = message(rig, address, { correlationId: "question 1" });
      await publishAll(rig, answering, [answer]);
      const got = await mine.one();
      assert.equal(got.message.correlationId, "question 1");
      assert.equal(got.message.id, answer.id);
      assert.equal(another.got.length, 0);
      assert.equal(
        (await subscribe(rig, asking, { topic: rig.unique("plain"), group: offered(rig, "groups") ? "g" : undefined })).subscription
          .address,
        undefined,
      );
      rig.saw(1);
    },
  },
  {
    name: "a request that nobody replies to is an error",
    covers: ["capability.noResponders"],
    needs: ["noResponders", "inbox"],
    async prove(rig) {
      const transport = await rig.transport();
      const inbox = await subscribe(rig, transport, { inbox: true });
      const replyTo = inbox.subscription.address;
      const [outcome] = await publish(rig, transport, [message(rig, rig.unique("nobody"), { replyTo, correlationId: "question 1" })]);
      definite(outcome, "NO_RESPONDERS");
    },
  },
  {
    name: "E08 a transaction shows all or nothing, and settles with it",
    covers: ["capability.transaction"],
    needs: ["transaction", "settle", "groups"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("input");
      const output = rig.unique("output");
      const input = await subscribe(rig, transport, { topic, group: rig.unique("g") });
      const results = await subscribe(rig, transport, { topic: output, group: rig.unique("g") }, { ack: true });
      await publishAll(rig, transport, [message(rig, topic, { key: "k" })]);
      for (const commit of [false, true]) {
        assert(transport.begin !== undefined, "declared and not there");
        const delivery = await input.one();
        const tx = await transport.begin({ signal: rig.signal });
        const result = message(rig, output, { key: "k" });
        const [outcome] = await transport.publish([result], { signal: rig.signal, tx });
        assert.equal(outcome?.ok, true);
        assert.deepEqual(await input.settle([{ kind: "ack", delivery }], tx), ["done"]);
        assert.equal(results.got.length, 0, "seen before the commit");
        if (!commit) {
          await tx.rollback();
          await input.settle([
            offered(rig, "retry") ? { kind: "retry", delivery, delayMs: 0, note: undefined } : { kind: "release", delivery },
          ]);
          continue;
        }
        await tx.commit();
        await tx.rollback();
        assert.deepEqual(ids(await results.take(1)), [result.id]);
      }
      await lastOne(rig, transport, topic, input, "k");
      await lastOne(rig, transport, output, results, "k");
      rig.saw(2);
    },
  },
];

function known(value: number | { readonly unknown: string }, expected: number): void {
  if (typeof value === "number") assert.equal(value, expected);
  else assert(value.unknown.length > 0, "unknown, without a reason");
}

async function waiting(rig: Rig) {
  const transport = await rig.transport();
  const topic = rig.unique("waiting");
  const member = rig.unique("g");
  const first = await subscribe(rig, transport, { topic, group: member });
  await first.close();
  const messages = Array.from({ length: 10 }, () => message(rig, topic, { key: "k" }));
  await publishAll(rig, transport, messages);
  return { transport, topic, member, sent: messages.map((each) => each.id) };
}
