import assert from "node:assert/strict";
import type { Case } from "../case.ts";
import { message, publishAll } from "../rig.ts";
import { ids, subscribe } from "../taker.ts";
import { group, lastOne, offered } from "./publish.ts";
import { leaseMs } from "./settle.ts";

export const leaseCases: readonly Case[] = [
  {
    name: "D09 a lease that is not extended ends, one that is extended does not",
    covers: ["capability.lease", "subscribe.leaseMs", "delivery.leaseMs", "settlement.kind"],
    needs: ["settle", "lease"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("lease");
      const member = group(rig);
      const lease = leaseMs(rig);
      const holder = await subscribe(rig, transport, { topic, group: member, leaseMs: lease });
      const [dropped, held] = [message(rig, topic, { key: "a" }), message(rig, topic, { key: "b" })];
      await publishAll(rig, transport, [dropped, held]);
      const got = await holder.take(2);
      for (const delivery of got)
        assert(delivery.leaseMs !== undefined && delivery.leaseMs > 0 && delivery.leaseMs <= lease, `a lease of ${delivery.leaseMs} ms`);
      const keep = got.find((delivery) => delivery.message.id === held.id);
      assert(keep !== undefined);
      const other = await subscribe(rig, transport, { topic, group: member, leaseMs: 30_000 });
      const begun = performance.now();
      let extended = begun;
      const everywhere = (): readonly string[] => [...ids(holder.got.slice(2)), ...ids(other.got)];
      await rig.until("three leases", async () => {
        if (performance.now() - extended > lease / 3) {
          extended = performance.now();
          assert.deepEqual(await holder.settle([{ kind: "extend", delivery: keep, note: undefined }]), ["done"]);
        }
        return performance.now() - begun > 3 * lease && everywhere().includes(dropped.id);
      });
      assert(!everywhere().includes(held.id), "extended, and handed out again");
      assert.deepEqual(await holder.ack(keep), ["done"]);
      rig.saw(2);
    },
  },
  {
    name: "D04 D08 an acknowledgement of an older lease settles nothing",
    covers: ["delivery.generation", "settlement.delivery", "delivery.handle"],
    needs: ["settle", "lease"],
    async prove(rig) {
      const transport = await rig.transport();
      const other = await rig.transport();
      const topic = rig.unique("stale");
      const member = group(rig);
      const lease = leaseMs(rig);
      const stalled = await subscribe(rig, transport, { topic, group: member, leaseMs: lease });
      await publishAll(rig, transport, [message(rig, topic, { key: "k" })]);
      const old = await stalled.one();
      const handedOut = stalled.at[0] ?? 0;
      stalled.subscription.credit({ messages: 0, bytes: 0 });
      const next = await subscribe(rig, other, { topic, group: member, leaseMs: 30_000 });
      const current = await next.one();
      assert.equal(current.message.id, old.message.id);
      assert((next.at[0] ?? 0) - handedOut > lease / 2, "handed out again while its lease ran");
      assert.notEqual(current.generation, old.generation);
      assert.deepEqual(await stalled.ack(old), ["lost"]);
      assert.deepEqual(await stalled.settle([{ kind: "extend", delivery: old, note: undefined }]), ["lost"]);
      if (offered(rig, "retry"))
        assert.deepEqual(await stalled.settle([{ kind: "retry", delivery: old, delayMs: 0, note: undefined }]), ["lost"]);
      await stalled.close();
      await next.close();
      const third = await subscribe(rig, other, { topic, group: member });
      const again = await third.one();
      assert.equal(again.message.id, old.message.id, "the stale acknowledgement settled it");
      assert.deepEqual(await third.ack(again), ["done"]);
      await lastOne(rig, other, topic, third, "k");
      rig.saw(1);
    },
  },
  {
    name: "D04 settling twice settles once",
    covers: ["settlement.delivery"],
    needs: ["settle", "retry"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("twice");
      const taker = await subscribe(rig, transport, { topic, group: group(rig) });
      await publishAll(rig, transport, [message(rig, topic, { key: "k" })]);
      const first = await taker.one();
      await taker.settle([{ kind: "retry", delivery: first, delayMs: 0, note: undefined }]);
      const second = await taker.one();
      assert.deepEqual(await taker.ack(first), ["lost"], "an acknowledgement of the first delivery");
      await taker.close();
      assert.equal(second.message.id, first.message.id);
      rig.saw(1);
    },
  },
  {
    name: "D10 D04 what is revoked can still be settled, what is lost cannot",
    covers: ["capability.revocation", "subscribe.onEvent", "delivery.part", "delivery.generation"],
    needs: ["settle", "revocation"],
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("revoked");
      const member = group(rig);
      const settled: string[] = [];
      const revoked: string[] = [];
      const first = await subscribe(rig, transport, {
        topic,
        group: member,
        async onEvent(event) {
          if (event.kind !== "revoked") return;
          assert(event.deadlineMs > performance.now(), "the deadline is in the future");
          revoked.push(event.part);
          const mine = first.got.filter((delivery) => delivery.part === event.part && !settled.includes(delivery.message.id));
          const outcomes = await first.subscription.settle(mine.slice(0, 1).map((delivery) => ({ kind: "ack", delivery })));
          for (const outcome of outcomes) assert.equal(outcome, "done", "still ours until the answer");
          settled.push(...ids(mine.slice(0, 1)));
        },
      });
      const sent = Array.from({ length: 200 }, (_, index) => message(rig, topic, { key: `key ${index}` }));
      await publishAll(rig, transport, sent);
      await first.take(sent.length);
      assert(new Set(first.got.map((delivery) => delivery.part)).size > 1, "several parts");
      const second = await subscribe(rig, await rig.transport(), { topic, group: member });
      await rig.until("a revocation, and its last settlements", () => revoked.length > 0 && settled.length === revoked.length);
      const gone = first.got.filter((delivery) => revoked.includes(delivery.part) && !settled.includes(delivery.message.id));
      assert(gone.length > 0, "the revoked part is named as the deliveries name it");
      await second.take(gone.length);
      assert.deepEqual(ids(second.got).toSorted(), ids(gone).toSorted(), "all that was not settled goes over, and nothing else");
      assert(
        (await first.ack(...gone)).every((outcome) => outcome === "lost"),
        "a late commit is refused",
      );
      for (const delivery of second.got) {
        const before = gone.find((old) => old.message.id === delivery.message.id);
        assert.notEqual(delivery.generation, before?.generation);
      }
      await second.ack(...second.got);
      rig.saw(sent.length);
    },
  },
];
