import assert from "node:assert/strict";
import type { Case } from "../case.ts";
import { message, publish, publishAll } from "../rig.ts";
import { definite, ids, subscribe } from "../taker.ts";
import { acks, group, lastOne } from "./publish.ts";

/** What an outcome says of a publish that could not be confirmed. */
export const confirmCases: readonly Case[] = [
  {
    name: "P03 P04 a publish whose signal has fired did not happen",
    async prove(rig) {
      const transport = await rig.transport();
      const topic = rig.unique("aborted");
      const taker = await subscribe(rig, transport, { topic, group: group(rig) }, { ack: acks(rig) });
      const outcomes = await rig.within(
        "publish",
        transport.publish([message(rig, topic), message(rig, topic)], { signal: AbortSignal.abort() }),
      );
      assert.equal(outcomes.length, 2);
      for (const outcome of outcomes) definite(outcome, "ABORTED");
      await lastOne(rig, transport, topic, taker);
      rig.saw(2);
    },
  },
  {
    name: "P03 a publish on a closed transport is a definite error",
    async prove(rig) {
      const transport = await rig.transport();
      await transport.close();
      const [outcome] = await publish(rig, transport, [message(rig, rig.unique("closed"))]);
      definite(outcome, "CLOSED");
      await rig.within("a second close", transport.close());
    },
  },
  {
    name: "P03 P05 every publish is settled while the broker takes nothing",
    needs: ["fault:block"],
    async prove(rig) {
      const broker = await rig.freshBroker();
      const transport = await rig.transport(broker);
      const topic = rig.unique("blocked");
      const taker = await subscribe(rig, transport, { topic, group: group(rig) }, { ack: acks(rig) });
      await broker.faults.block?.();
      const sent = [message(rig, topic, { key: "k" }), message(rig, topic, { key: "k" })];
      const outcomes = await rig.within("publish", transport.publish(sent, { signal: AbortSignal.timeout(100) }));
      assert(
        outcomes.every((outcome) => !outcome.ok),
        "nothing is confirmed while the broker takes nothing",
      );
      await broker.faults.unblock?.();
      const absent = sent.filter((_, index) => outcomes[index]?.ok === false && outcomes[index].error.certainty === "definite");
      const last = message(rig, topic, { key: "k" });
      await publishAll(rig, transport, [last]);
      await rig.until("the next message", () => taker.got.some((delivery) => delivery.message.id === last.id));
      for (const each of absent) assert(!ids(taker.got).includes(each.id), "a definite error, and it arrived");
      rig.saw(3);
    },
  },
  {
    name: "P05 an ok outcome is the transport's own word",
    covers: ["capability.confirm"],
    needs: ["confirm", "fault:block"],
    async prove(rig) {
      const broker = await rig.freshBroker();
      const transport = await rig.transport(broker);
      const topic = rig.unique("confirmed");
      await subscribe(rig, transport, { topic, group: group(rig) });
      await broker.faults.block?.();
      let known = false;
      const outcomes = transport.publish([message(rig, topic)], { signal: rig.signal }).finally(() => (known = true));
      const begun = performance.now();
      await rig.until("50 ms", () => performance.now() - begun > 50);
      assert(!known, "ok before the broker took it");
      await broker.faults.unblock?.();
      assert.equal((await rig.within("the confirm", outcomes))[0]?.ok, true);
      rig.saw(1);
    },
  },
  {
    name: "P05 P06 what was written and not confirmed is indefinite",
    needs: ["fault:holdConfirms", "fault:stop", "settle"],
    async prove(rig) {
      const broker = await rig.freshBroker();
      const transport = await rig.transport(broker);
      const topic = rig.unique("unsaid");
      const taker = await subscribe(rig, transport, { topic, group: group(rig) });
      await broker.faults.holdConfirms?.();
      const outcomes = transport.publish([message(rig, topic, { key: "k" })], { signal: rig.signal });
      await rig.until("the message", () => taker.got.length === 1);
      await broker.faults.stop?.();
      const [outcome] = await rig.within("the outcome", outcomes);
      assert(outcome?.ok === false && outcome.error.certainty === "indefinite", "it arrived, and nobody may say that it did not happen");
      await broker.faults.start?.();
      await rig.until("publishes go on", async () => (await publish(rig, transport, [message(rig, topic, { key: "k" })]))[0]?.ok === true);
      rig.saw(1);
    },
  },
];
