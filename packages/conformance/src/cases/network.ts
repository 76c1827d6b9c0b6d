import assert from "node:assert/strict";
import type { Transport } from "@waybill/core";
import type { Case } from "../case.ts";
import { message, publish, publishAll } from "../rig.ts";
import type { Rig } from "../rig.ts";
import { recoverMs, ride } from "../ride.ts";
import type { Harm } from "../ride.ts";
import type { Broker, Network } from "../target.ts";
import { ids, subscribe } from "../taker.ts";
import { used } from "./bus-publish.ts";
import { acks, group } from "./publish.ts";

export interface Between {
  /** What is done between the server and who connects by `broker`. */
  readonly broker: Broker;
  readonly network: Network;
  /** Past the network: for who is to see what became of it. */
  readonly past: Broker;
}

/** A broker whose network is this case's own. */
export async function between(rig: Rig): Promise<Between> {
  const broker = await rig.freshBroker();
  const { network } = broker.faults;
  assert(network !== undefined);
  return { broker, network, past: { ...broker, connection: network.direct } };
}

/** What the transport under test says goes over this network: a fault elsewhere would hit nobody. */
export function carries(network: Network): void {
  const { toServer, toClient, open } = network.traffic();
  assert(open > 0 && toServer > 0 && toClient > 0, "the connection under test does not go over the network of its broker");
}

/** The transport publishes again. Answers the ids that it confirmed on the way, and those that it said did not happen. */
export async function goesOn(rig: Rig, transport: Transport, topic: string): Promise<{ readonly ok: string[]; readonly absent: string[] }> {
  const [ok, absent]: [string[], string[]] = [[], []];
  await rig.until(
    "publishes go on",
    async () => {
      const one = message(rig, topic, { key: "k" });
      const outcome = (await publish(rig, transport, [one]))[0];
      if (outcome?.ok === true) ok.push(one.id);
      else if (outcome?.error.certainty === "definite") absent.push(one.id);
      if (ok.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
      return ok.length > 0;
    },
    recoverMs,
  );
  return { ok, absent };
}

const cut = (network: Network): Harm => ({ name: "cut", begin: () => void network.cut(), lastsMs: 0, end: () => undefined });
const cutAt = (network: Network, bytes: number): Harm => ({
  name: `cut after ${bytes} bytes`,
  begin: () => network.cutAfter(bytes),
  lastsMs: 100,
  end: () => undefined,
});
const refuse = (network: Network, forMs: number): Harm => ({
  name: `cut, and refused for ${forMs} ms`,
  begin() {
    network.refuse();
    network.cut();
  },
  lastsMs: forMs,
  end: () => network.heal(),
});

export const networkCases: readonly Case[] = [
  {
    name: "P04 P05 P06 C01 connections that are cut at any byte of a publish: ok is kept, what failed for certain never arrives",
    needs: ["fault:network"],
    together: true,
    deadlineMs: 90_000,
    async prove(rig) {
      const { broker, network, past } = await between(rig);
      const topic = rig.unique("cut");
      const taker = await subscribe(rig, await rig.transport(past), { topic, group: group(rig) }, { ack: acks(rig) });
      const transport = await rig.transport(broker);
      const batch = (): ReturnType<typeof message>[] => Array.from({ length: 3 }, () => message(rig, topic, { key: "k" }));
      const [kept, absent, sent]: [Set<string>, Set<string>, Set<string>] = [new Set(), new Set(), new Set()];
      const once = async (): Promise<void> => {
        const messages = batch();
        for (const { id } of messages) sent.add(id);
        for (const [at, outcome] of (await publish(rig, transport, messages)).entries()) {
          const id = messages[at]?.id ?? "";
          if (outcome.ok) kept.add(id);
          else if (outcome.error.certainty === "definite") absent.add(id);
        }
      };
      await once();
      const before = network.traffic();
      await once();
      carries(network);
      const exchange = { toServer: network.traffic().toServer - before.toServer, toClient: network.traffic().toClient - before.toClient };
      const bytes = exchange.toServer + exchange.toClient;
      assert(bytes > 0, "nothing was said to publish");
      const rounds = rig.scale(12, Math.min(2_000, bytes));
      for (let round = 0; round < rounds; round += 1) {
        const { cuts } = network.traffic();
        const at = rig.full ? round : Math.floor(rig.random() * bytes);
        if (at < exchange.toServer) network.cutAfter(at, "toServer");
        else network.cutAfter(at - exchange.toServer, "toClient");
        await rig.until("the cut", async () => {
          await once();
          return network.traffic().cuts > cuts;
        });
        const after = await goesOn(rig, transport, topic);
        for (const id of after.ok) kept.add(id);
        for (const id of after.absent) absent.add(id);
      }
      await rig.until("all that was confirmed", () => {
        const got = new Set(ids(taker.got));
        return [...kept].every((id) => got.has(id));
      });
      await finalOne(rig, past, topic, taker);
      for (const id of ids(taker.got)) assert(!absent.has(id), "it failed for certain, and it arrived");
      assert(network.traffic().cuts >= rounds);
      rig.saw(sent.size);
    },
  },
  {
    name: "D04 D01 an acknowledgement from before a reconnection settles nobody else's message",
    needs: ["settle", "groups", "fault:network"],
    together: true,
    async prove(rig) {
      const { broker, network, past } = await between(rig);
      const topic = rig.unique("stale");
      const member = rig.unique("g");
      const transport = await rig.transport(broker);
      const first = await subscribe(rig, transport, { topic, group: member, credit: { messages: 100, bytes: 1 << 20 } });
      const publisher = await rig.transport(past);
      const early = Array.from({ length: 20 }, () => message(rig, topic, { key: "k" }));
      await publishAll(rig, publisher, early);
      const old = await first.take(early.length);
      carries(network);
      const settled = new Set<string>();
      assert(network.cut() > 0);
      const late = Array.from({ length: 20 }, () => message(rig, topic, { key: "k" }));
      await publishAll(rig, publisher, late);
      await rig.until("what came after the cut", () => late.every(({ id }) => ids(first.got).includes(id)), recoverMs);
      const again = new Set(ids(first.got.slice(early.length)));
      // One at a time: each names the delivery of its own connection, and no other.
      for (const delivery of old) {
        const [outcome] = await first.ack(delivery);
        if (outcome !== "lost") settled.add(delivery.message.id);
        if (again.has(delivery.message.id)) assert.equal(outcome, "lost", "delivered again, and the older delivery was acknowledged");
      }
      await first.close();
      await transport.close();
      const second = await subscribe(rig, publisher, { topic, group: member }, { ack: true });
      const owed = [...early, ...late].filter(({ id }) => !settled.has(id));
      await rig.until("all that nobody acknowledged", () => {
        const got = new Set(ids(second.got));
        return owed.every(({ id }) => got.has(id));
      });
      rig.saw(early.length + late.length);
    },
  },
  {
    name: "O01 O02 P01 D01 C01 connections are cut and refused under load: nothing is lost, keys keep their order",
    needs: ["settle", "groups", "fault:network"],
    together: true,
    deadlineMs: 120_000,
    async prove(rig) {
      const { broker, network } = await between(rig);
      const harms = Array.from({ length: rig.scale(1, 34) }, () => [
        cut(network),
        cutAt(network, Math.floor(rig.random() * 4_000)),
        refuse(network, rig.scale(1_000, 3_000)),
      ]).flat();
      await ride(rig, { broker, harms, others: 5, order: true });
      carries({ ...network, traffic: () => ({ ...network.traffic(), open: 1 }) });
      assert(network.traffic().cuts >= harms.length, "a cut that hit nobody");
    },
  },
  {
    name: "P07 C01 over a line that is slow and gives one byte at a time",
    needs: ["fault:network"],
    together: true,
    async prove(rig) {
      const { broker, network } = await between(rig);
      network.latency(3);
      network.slice(1);
      const topic = rig.unique("slow");
      const transport = await rig.transport(broker);
      const taker = await subscribe(rig, transport, { topic, group: group(rig) }, { ack: acks(rig) });
      const sizes = [0, 1, 127, 128, 255, 256, 4_096, ...(rig.full ? [65_536] : [])].filter(
        (size) => size <= rig.capabilities.maxBodyBytes,
      );
      const sent = sizes.map((size) => message(rig, topic, { key: "k", body: Uint8Array.from({ length: size }, (_, at) => at & 255) }));
      await publishAll(rig, transport, sent);
      const got = await taker.take(sent.length);
      for (const [at, { body }] of sent.entries()) {
        const arrived = got[at]?.message.body;
        assert(arrived instanceof Uint8Array && body instanceof Uint8Array && Buffer.compare(arrived, body) === 0, "the body differs");
      }
      carries(network);
      rig.saw(sent.length);
    },
  },
  {
    name: "C12 nothing is left open after many lost connections",
    needs: ["fault:network"],
    deadlineMs: 90_000,
    async prove(rig) {
      const { broker, network } = await between(rig);
      const topic = rig.unique("leak");
      const transport = await rig.transport(broker);
      await subscribe(rig, transport, { topic, group: group(rig) }, { ack: acks(rig) });
      const cycle = async (times: number): Promise<void> => {
        for (let round = 0; round < times; round += 1) {
          await goesOn(rig, transport, topic);
          assert(network.cut() > 0);
          await goesOn(rig, transport, topic);
        }
      };
      const open = (): number => process.getActiveResourcesInfo().filter((name) => name !== "Timeout" && name !== "Immediate").length;
      await cycle(3);
      const before = open();
      const times = rig.scale(10, 1_000);
      const heap = await used();
      await cycle(times);
      // A connection that is made when it is first needed is no leak: one for each that was lost is.
      await rig.until("as many resources as before", () => open() <= before + times / 2);
      const grown = ((await used()) - heap) / times;
      assert(grown < 256 * 1_024, `${Math.round(grown / 1_024)} KiB a lost connection`);
      rig.saw(times);
    },
  },
];

/** What was to be absent would have come before it. */
async function finalOne(rig: Rig, past: Broker, topic: string, taker: Awaited<ReturnType<typeof subscribe>>): Promise<void> {
  const last = message(rig, topic, { key: "k" });
  await publishAll(rig, await rig.transport(past), [last]);
  await rig.until("the last message", () => taker.got.some((delivery) => delivery.message.id === last.id));
}
