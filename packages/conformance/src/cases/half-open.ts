import assert from "node:assert/strict";
import type { TransportStatus } from "@waybill/core";
import type { Case } from "../case.ts";
import { recoverMs } from "../ride.ts";
import { connect, message, publishAll } from "../rig.ts";
import type { Rig } from "../rig.ts";
import type { Direction } from "../proxy.ts";
import { ids, subscribe } from "../taker.ts";
import type { Taker } from "../taker.ts";
import { between, carries, goesOn } from "./network.ts";
import type { Between } from "./network.ts";
import { toLeave } from "./outage.ts";
import { acks, group, offered } from "./publish.ts";

/** The most that any target may take (C02). */
const mostMs = 30_000;

export const halfOpenCases: readonly Case[] = [
  ...(["both", "toClient", "toServer"] as const).map((direction): Case => ({
    name: `C02 C01 a connection is found half open while it is idle: ${{ both: "nothing passes", toClient: "nothing comes from the server", toServer: "nothing gets to the server" }[direction]}`,
    needs: ["fault:network"],
    together: true,
    deadlineMs: 90_000,
    async prove(rig) {
      const found = await halfOpen(rig, direction);
      await found.noticed();
      found.network.heal();
      await found.again();
      rig.saw(2);
    },
  })),
  {
    name: "P03 P04 P05 C02 publishes whose answers are lost are indefinite, and their copies the same message",
    needs: ["fault:network"],
    together: true,
    deadlineMs: 90_000,
    async prove(rig) {
      const { broker, network, past } = await between(rig);
      const topic = rig.unique("unanswered");
      const taker = await subscribe(rig, await rig.transport(past), { topic, group: group(rig) }, { ack: acks(rig) });
      const transport = await rig.transport(broker);
      await goesOn(rig, transport, topic);
      carries(network);
      network.blackHole("toClient");
      const sent = Array.from({ length: 5 }, () => message(rig, topic, { key: "k" }));
      const answered = transport.publish(sent, { signal: AbortSignal.timeout(2 * mostMs) });
      await rig.until("what was written", () => sent.every(({ id }) => ids(taker.got).includes(id)));
      const outcomes = await rig.within("the outcomes, without a word from the server", answered, network.noticesWithinMs + 2_000);
      assert(network.traffic().swallowed > 0, "the answers were not lost");
      for (const outcome of outcomes) {
        assert(!outcome.ok, "ok, and no answer came");
        assert.equal(outcome.error.certainty, "indefinite", "it arrived, and nobody may say that it did not happen");
      }
      network.heal();
      await goesOn(rig, transport, topic);
      rig.saw(sent.length);
    },
  },
  {
    name: "D06 D05 D04 acknowledgements that are lost on the way lose no message",
    needs: ["settle", "groups", "fault:network"],
    together: true,
    deadlineMs: 90_000,
    async prove(rig) {
      const { broker, network, past } = await between(rig);
      const topic = rig.unique("unheard");
      const member = rig.unique("g");
      const transport = await rig.transport(broker);
      const first = await subscribe(rig, transport, { topic, group: member, leaseMs: 2_000 });
      const publisher = await rig.transport(past);
      const sent = Array.from({ length: 10 }, () => message(rig, topic, { key: "k" }));
      await publishAll(rig, publisher, sent);
      const got = await first.take(sent.length);
      carries(network);
      network.blackHole("toServer");
      const outcomes = await rig.within(
        "the acknowledgements",
        first.subscription.settle(got.map((delivery) => ({ kind: "ack", delivery }))),
        mostMs + 5_000,
      );
      if (offered(rig, "settleConfirm")) for (const outcome of outcomes) assert.notEqual(outcome, "done", "the server cannot have said so");
      // Where nothing answers an acknowledgement, settling may be over before it has gone anywhere.
      await rig.until("acknowledgements that are lost", () => network.traffic().swallowed > 0);
      network.heal();
      await transport.close();
      const second = await subscribe(rig, publisher, { topic, group: member }, { ack: true });
      // A log may still have written down, when it closed, what nobody knew of: only then need a message not come again.
      const again = got
        .filter((_, index) => !offered(rig, "settleConfirm") || outcomes[index] !== "unknown")
        .map(({ message: { id } }) => id);
      const last = message(rig, topic, { key: "k" });
      await publishAll(rig, publisher, [last]);
      await rig.until("all of them again", () => [...again, last.id].every((id) => ids(second.got).includes(id)), mostMs);
      rig.saw(sent.length);
    },
  },
  {
    name: "P18 P03 C06 close keeps its deadline while nothing passes",
    needs: ["settle", "groups", "fault:network"],
    together: true,
    deadlineMs: 60_000,
    async prove(rig) {
      const { broker, network } = await between(rig);
      const leaving = await toLeave(rig, broker);
      network.blackHole("both");
      await leaving.leave();
      assert(network.traffic().swallowed > 0, "nothing was lost");
      network.heal();
      rig.saw(50);
    },
  },
];

interface HalfOpen extends Between {
  /** Resolves when the transport has found out; rejects when it takes longer than the target says it does. */
  noticed(): Promise<void>;
  /** What is published after it arrives. */
  again(): Promise<void>;
}

async function halfOpen(rig: Rig, direction: Direction | "both"): Promise<HalfOpen> {
  const there = await between(rig);
  const { broker, network, past } = there;
  const statuses: TransportStatus[] = [];
  const transport = rig.raw(broker);
  rig.defer(() => transport.close());
  await connect(transport, rig.waitMs, (status) => void statuses.push(status));
  const topic = rig.unique("half");
  const taker: Taker = await subscribe(rig, transport, { topic, group: group(rig) }, { ack: acks(rig) });
  const publisher = await rig.transport(past);
  const arrives = async (waitMs: number): Promise<void> => {
    const one = message(rig, topic, { key: "k" });
    await publishAll(rig, publisher, [one]);
    await rig.until("a message", () => ids(taker.got).includes(one.id), waitMs);
  };
  await arrives(rig.waitMs);
  carries(network);
  assert(network.noticesWithinMs <= mostMs, `the target takes ${network.noticesWithinMs} ms to find out`);
  const before = statuses.length;
  network.blackHole(direction);
  return {
    ...there,
    async noticed() {
      const lost = (): boolean => statuses.slice(before).some((status) => status !== "connected");
      await rig.until(`a dead connection is found`, lost, network.noticesWithinMs + 1_000);
      assert(network.traffic().swallowed > 0, "nothing was lost, and it was found");
    },
    again: () => arrives(recoverMs),
  };
}
