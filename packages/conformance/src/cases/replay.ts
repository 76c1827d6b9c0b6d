import assert from "node:assert/strict";
import { event, fixed } from "@waybill/core";
import type { Bus, Contract, DeadLetter, DeadLetters, Subscription, Transport } from "@waybill/core";
import { around, wrapped } from "../around.ts";
import { openBus } from "../buses.ts";
import type { Case } from "../case.ts";
import { encoded, read } from "../rig.ts";
import type { Rig } from "../rig.ts";
import type { Broker } from "../target.ts";
import { offered } from "./publish.ts";

/** A log has no way to take one out of the middle: the core does it all the same. */
export const replayCases: readonly Case[] = [
  {
    name: "D18 dead letters are listed, replayed by choice, edited and discarded; looking takes nothing, and the others stay",
    needs: ["settle", "publishToGroup"],
    together: true,
    async prove(rig) {
      const on = await given(rig, 30);
      const { letters, ids } = on;
      for (let times = 0; times < 2; times += 1) {
        const listed = await letters.list();
        assert.deepEqual(listed.map(idOf).toSorted(), ids, "listed");
        for (const { message, cause } of listed) {
          assert.equal(message.topic, on.topic, "with the topic it had");
          assert.equal(cause.code, "HANDLER");
          if (offered(rig, "headers")) assert.equal(message.headers["tenant"], `t${String(read(message))}`);
        }
      }
      assert.equal((await letters.list({ limit: 7 })).length, 7);
      const third = (letter: DeadLetter): boolean => Number(read(letter.message)) % 3 === 1;
      assert.deepEqual(await letters.replay({ where: third, dryRun: true }), { matched: 10, replayed: 0, left: 30 });
      assert.equal(await letters.discard({ where: third, dryRun: true }), 10);
      assert.equal(await letters.count(), 30, "looked at, and not there any more");

      on.repair();
      assert.deepEqual(await letters.replay({ where: third }), { matched: 10, replayed: 10, left: 20 });
      await rig.until("the replayed ones", () => on.handled.size === 10);
      const stayed = await letters.list();
      assert.deepEqual(
        stayed.map(idOf).toSorted(),
        ids.filter((id) => !on.handled.has(id)),
        "those that were not chosen",
      );
      for (const { message, cause } of stayed) {
        assert.equal(cause.code, "HANDLER", "with its cause");
        if (offered(rig, "headers")) assert.equal(message.headers["tenant"], `t${String(read(message))}`);
      }

      const [edited] = stayed;
      assert(edited !== undefined);
      const body = rig.capabilities.body === "bytes" ? encoded(1_000) : 1_000;
      assert.equal((await letters.replay({ where: (letter) => idOf(letter) === idOf(edited), edit: () => ({ body }) })).replayed, 1);
      await rig.until("the edited one", () => on.handled.size === 11);
      assert.deepEqual(
        on.handled.get(idOf(edited))?.map(({ number }) => number),
        [1_000],
      );

      const unwanted = new Set(stayed.slice(-4).map(idOf));
      assert.equal(await letters.discard({ where: (letter) => unwanted.has(idOf(letter)) }), 4);
      const begun = performance.now();
      assert.equal((await letters.replay({ rate: 50 })).replayed, 15);
      assert(performance.now() - begun >= 14 * 20 - 5, "faster than its rate");
      await rig.until("all that were wanted", () => on.handled.size === 26);
      assert.equal(await letters.count(), 0);
      assert.deepEqual(
        [...on.handled.keys()].toSorted(),
        ids.filter((id) => !unwanted.has(id)),
      );
      on.assertFresh();
      rig.saw(30);
    },
  },
  {
    name: "D18 a replay that is interrupted at any moment loses nothing and repeats nothing",
    needs: ["settle", "publishToGroup"],
    together: true,
    async prove(rig) {
      const on = await given(rig, 40);
      on.repair();
      let replayed = 0;
      for (let round = 0; round < rig.scale(6, 60) && replayed < 40; round += 1) {
        const interrupt = new AbortController();
        const timer = setTimeout(() => interrupt.abort(), rig.random() * 60);
        // Some stay, so that where nothing can be taken out of the middle it has to be written again while it ends.
        const where = (letter: DeadLetter): boolean => Number(read(letter.message)) % 4 !== round % 4;
        replayed += (await rig.within("an interrupted replay", on.letters.replay({ where, rate: 200, signal: interrupt.signal }))).replayed;
        clearTimeout(timer);
        assert.equal(await on.letters.count(), 40 - replayed, "replayed or still there");
      }
      replayed += (await on.letters.replay()).replayed;
      assert.equal(replayed, 40);
      await rig.until("all of them", () => on.handled.size === 40);
      assert.equal(await on.letters.count(), 0);
      on.assertFresh();
      rig.saw(40);
    },
  },
  {
    name: "D18 D01 whoever dies in the middle of a replay loses none, and what is repeated has its id",
    needs: ["settle", "publishToGroup", "fault:crash"],
    together: true,
    async prove(rig) {
      const broker = await rig.freshBroker();
      const on = await given(rig, 30, broker);
      on.repair();
      const where = (letter: DeadLetter): boolean => Number(read(letter.message)) % 3 !== 0;
      for (let round = 0; round < rig.scale(3, 30); round += 1) {
        const crashed = Promise.withResolvers<void>();
        let transport: Transport | undefined;
        let calls = 2 + Math.floor(rig.random() * 30);
        const count = (): void => {
          calls -= 1;
          if (calls > 0 || transport === undefined) return;
          broker.faults.crash?.(transport);
          transport = undefined;
          crashed.resolve();
        };
        const bus = await openBus(rig, { broker, publish: { timeout: "1s" }, around: (inner) => counted((transport = inner), count) });
        // Of one that has died nothing is heard any more; a bus that ends before it does is done.
        const replaying = bus
          .deadLetters(on.contract, { group: "g" })
          .replay({ where })
          .catch(() => undefined);
        await rig.within("a crash, or the end of the replay", Promise.race([crashed.promise, replaying]));
        await on.letters.replay({ where: (letter) => where(letter) && Number(read(letter.message)) % 5 === round });
      }
      const known = new Set(on.ids);
      await rig.until("all are handled or still dead letters", async () => {
        const left = await on.letters.list();
        for (const letter of left) assert(known.has(idOf(letter)), "a dead letter of another id");
        return on.ids.every((id) => on.handled.has(id) || left.some((letter) => idOf(letter) === id));
      });
      await on.letters.replay();
      await rig.until("all of them", () => on.handled.size === 30);
      for (const id of on.handled.keys()) assert(known.has(id), "a message of another id");
      rig.saw(30);
    },
  },
];

interface Given {
  readonly bus: Bus;
  readonly contract: Contract<number>;
  readonly topic: string;
  readonly letters: DeadLetters;
  /** Of all that were published, sorted. */
  readonly ids: readonly string[];
  readonly handled: ReadonlyMap<string, readonly { readonly number: number; readonly attempt: number }[]>;
  /** From now on the handler does its work. */
  repair(): void;
  /** Each that was handled was so once, as a first attempt; the other group got nothing again. */
  assertFresh(): void;
}

/** So many dead letters of group `g`, while group `h` has handled them all. */
async function given(rig: Rig, count: number, broker?: Broker): Promise<Given> {
  const topic = rig.unique("replay");
  const contract = event<number>(topic);
  const handled = new Map<string, { readonly number: number; readonly attempt: number }[]>();
  let broken = true;
  let others = 0;
  const bus = await openBus(rig, broker === undefined ? {} : { broker }, (bus) => {
    bus.subscribe(contract, { group: "g", concurrency: 5, retry: { attempts: 2, backoff: fixed(5), deadLetter: true } }, (number, ctx) => {
      if (broken) throw new Error("out of order");
      handled.set(ctx.message.id, [...(handled.get(ctx.message.id) ?? []), { number, attempt: ctx.attempt }]);
    });
    bus.subscribe(contract, { group: "h" }, () => void (others += 1));
  });
  const ids: string[] = [];
  for (let number = 0; number < count; number += 1) {
    const headers = offered(rig, "headers") ? { headers: { tenant: `t${number}` } } : {};
    ids.push((await bus.publish(contract, number, headers)).id);
  }
  const counters = () => bus.metrics().groups[topic];
  await rig.until("the dead letters", () => counters()?.["g"]?.deadLettered === count && others === count);
  return {
    bus,
    contract,
    topic,
    letters: bus.deadLetters(contract, { group: "g" }),
    ids: ids.toSorted(),
    handled,
    repair: () => (broken = false),
    assertFresh() {
      for (const [id, times] of handled)
        assert.deepEqual(
          times.map(({ attempt }) => attempt),
          [1],
          `${id}: once, as a first attempt`,
        );
      assert.equal(others, count, "the other group got something again");
    },
  };
}

const idOf = ({ message }: DeadLetter): string => message.id;

/** Calls `count` before each publish, settlement and removal. */
function counted(inner: Transport, count: () => void): Transport {
  return around(inner, {
    publish(messages, options) {
      count();
      return inner.publish(messages, options);
    },
    ...(inner.remove === undefined
      ? {}
      : {
          async remove(topic, group, positions) {
            count();
            return (await inner.remove?.(topic, group, positions)) ?? 0;
          },
        }),
    async subscribe(request) {
      const subscription = await inner.subscribe(request);
      const settle: Subscription["settle"] = (settlements, options) => {
        count();
        return subscription.settle(settlements, options);
      };
      return {
        ...wrapped(subscription),
        settle,
        // As an adapter may have it whose deliveries are a generator: `return` waits for the `next` that waits.
        async *deliveries() {
          yield* subscription.deliveries();
        },
      };
    },
  });
}
