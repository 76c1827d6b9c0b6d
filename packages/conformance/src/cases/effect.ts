import assert from "node:assert/strict";
import { event, fixed, WaybillError } from "@waybill/core";
import type { Store, Transport } from "@waybill/core";
import { around, innermost, onCommit, wrapped } from "../around.ts";
import { openBus } from "../buses.ts";
import type { Case } from "../case.ts";
import { crashPoints } from "../crash-points.ts";
import type { CrashPoint } from "../crash-points.ts";
import { assertValid, crashRun } from "../crash-run.ts";
import type { Ran } from "../crash-run.ts";
import type { Rig } from "../rig.ts";
import type { Broker, TargetStore } from "../target.ts";

type Where = "joined" | "separate";

/** The store in the transport's own database, where there is such a thing, and in one of its own. */
const places = (rig: Rig, broker: Broker): readonly { readonly where: Where; readonly open: () => TargetStore }[] =>
  (["joined", "separate"] as const)
    .filter((where) => where === "separate" || joins(rig, broker))
    .map((where) => ({ where, open: () => opened(rig, broker, where) }));

function opened(rig: Rig, broker: Broker, where: Where): TargetStore {
  const store = rig.target.store?.(broker.connection, { joined: where === "joined" });
  assert(store !== undefined);
  rig.defer(() => store.close());
  return store;
}

function joins(rig: Rig, broker: Broker): boolean {
  const transport = rig.raw(broker);
  return opened(rig, broker, "joined").store.joins(innermost(transport));
}

export const effectCases: readonly Case[] = [
  {
    name: "E01 repeats of a message are applied once",
    needs: ["settle", "store"],
    async prove(rig) {
      const broker = await rig.freshBroker();
      for (const { where, open } of places(rig, broker)) {
        const store = open();
        await store.prepare();
        const topic = rig.unique(where);
        const contract = event<number>(topic);
        // The transport's own de-duplication would hide what the inbox is for: repeats come as redeliveries.
        const bus = await openBus(rig, { broker, around: repeating(rig) }, (bus) => {
          bus.subscribe(
            contract,
            { group: "g", concurrency: 8, exactlyOnce: seenThrough(store.store), retry: { attempts: 20, backoff: fixed(5) } },
            (_, ctx) => store.apply(ctx.tx, "g", ctx.message.id),
          );
        });
        const sent = await bus.publishMany(
          contract,
          Array.from({ length: rig.scale(100, 2_000) }, (_, at) => at),
        );
        await rig.until(`all applied, ${where}`, async () => (await store.effects()).length >= sent.length, 20_000);
        await rig.until("the repeats", () => (bus.metrics().groups[topic]?.["g"]?.duplicates ?? 0) > 0 || where === "joined");
        await bus.close();
        assert.deepEqual((await store.effects()).map((row) => row.id).toSorted(), sent.map((each) => each.id).toSorted());
        rig.saw(sent.length);
      }
    },
  },
  {
    name: "E03 a handler that failed takes its effect, its inbox row and what it published back, and is tried again",
    needs: ["settle", "store"],
    async prove(rig) {
      const broker = await rig.freshBroker();
      for (const { where, open } of places(rig, broker)) {
        const store = open();
        await store.prepare();
        const contract = event<number>(rig.unique(where));
        const output = event<number>(rig.unique("out"));
        const attempts: number[] = [];
        const results: string[] = [];
        const bus = await openBus(rig, { broker }, (bus) => {
          bus.subscribe(
            contract,
            { group: "g", exactlyOnce: store.store, retry: { attempts: 3, backoff: fixed(5) } },
            async (body, ctx) => {
              attempts.push(ctx.attempt);
              await store.apply(ctx.tx, "g", ctx.message.id);
              await ctx.publish(output, body, { id: `out.${ctx.message.id}.${ctx.attempt}` });
              if (ctx.attempt < 3) throw new Error("not yet");
            },
          );
          bus.subscribe(output, { group: "g" }, (_, ctx) => void results.push(ctx.message.id));
        });
        const { id } = await bus.publish(contract, 1);
        await rig.until(`the outcome, ${where}`, () => results.length > 0, 20_000);
        await bus.close();
        assert.deepEqual(attempts, [1, 2, 3]);
        assert.deepEqual(results, [`out.${id}.3`], "a message of a failed attempt was sent");
        assert.deepEqual(await store.effects(), [{ group: "g", id }]);
        rig.saw(1);
      }
    },
  },
  ...(["before", "after"] as const).map((when): Case => ({
    name: `E02 E04 a commit that fails ${when} it took effect: applied once, never dead-lettered`,
    needs: ["settle", "store"],
    async prove(rig) {
      const broker = await rig.freshBroker();
      for (const { where, open } of places(rig, broker)) {
        const store = open();
        await store.prepare();
        const topic = rig.unique(where);
        const contract = event<number>(topic);
        const bus = await openBus(rig, { broker }, (bus) => {
          bus.subscribe(
            contract,
            {
              group: "g",
              concurrency: 4,
              exactlyOnce: failing(store.store, when, rig),
              retry: { attempts: 2, backoff: fixed(5), deadLetter: true },
            },
            (_, ctx) => store.apply(ctx.tx, "g", ctx.message.id),
          );
        });
        const sent = await bus.publishMany(
          contract,
          Array.from({ length: 40 }, (_, at) => at),
        );
        const applied = (): Promise<readonly { readonly id: string }[]> => Promise.resolve(store.effects());
        await rig.until(`all applied, ${where}`, async () => (await applied()).length >= sent.length, 20_000);
        await rig.until("all settled", () => bus.status().subscriptions.every((each) => each.unsettled === 0), 20_000);
        assert.deepEqual((await applied()).map((row) => row.id).toSorted(), sent.map((each) => each.id).toSorted());
        assert.equal(bus.metrics().groups[topic]?.["g"]?.deadLettered, 0);
        await bus.close();
        rig.saw(sent.length);
      }
    },
  })),
  {
    name: "E05 a member that stalls and wakes up cannot commit what another one has handled",
    needs: ["settle", "store", "lease"],
    async prove(rig) {
      const broker = await rig.freshBroker();
      for (const { where, open } of places(rig, broker)) {
        const store = open();
        await store.prepare();
        const contract = event<number>(rig.unique(where));
        const wake = Promise.withResolvers<void>();
        let stalled = 0;
        let others = 0;
        const choices = { group: "g", lease: 300, exactlyOnce: store.store } as const;
        const sleeper = await openBus(rig, { broker, around: withoutExtending }, (bus) => {
          bus.subscribe(contract, choices, async (_, ctx) => {
            stalled += 1;
            await wake.promise;
            await store.apply(ctx.tx, "g", ctx.message.id);
          });
        });
        const { id } = await sleeper.publish(contract, 1);
        await rig.until("the sleeper", () => stalled === 1);
        sleeper.status();
        const other = await openBus(rig, { broker }, (bus) => {
          bus.subscribe(contract, choices, async (_, ctx) => {
            await store.apply(ctx.tx, "g", ctx.message.id);
            others += 1;
          });
        });
        await rig.until(`the other one, ${where}`, async () => others === 1 && (await store.effects()).length === 1, 20_000);
        wake.resolve();
        await rig.until("the sleeper's end", () => sleeper.status().subscriptions.every((each) => each.running === 0));
        await sleeper.close();
        await other.close();
        assert.deepEqual(await store.effects(), [{ group: "g", id }]);
        rig.saw(1);
      }
    },
  },
  ...(["CP5", "CP6", "CP8", "CP9"] as const).map((point): Case => ({
    name: `${{ CP5: "E01 E08", CP6: "E01 E08", CP8: "E01 E02 E08", CP9: "E09" }[point]} ${point}: killed where ${crashPoints[point]}, with an exactly-once effect`,
    needs: ["settle", "store", "crash"],
    together: true,
    deadlineMs: 90_000,
    prove: (rig) => killed(rig, point),
  })),
];

/** Both places of the store, where the point is passed in it. */
async function killed(rig: Rig, point: CrashPoint): Promise<void> {
  const probe = await rig.freshBroker();
  for (const where of joins(rig, probe) ? (["joined", "separate"] as const) : (["separate"] as const)) {
    // A joined store acknowledges with its commit, and publishes without an outbox.
    if (where === "joined" && (point === "CP6" || point === "CP9")) continue;
    const output = rig.unique("out");
    const ran = await crashRun(rig, { victim: "consumer", point, deaths: rig.scale(1, 10), consumer: { store: where, output } });
    assertValid(ran.verdict);
    outboxAgrees(rig, ran);
  }
}

/** A message exists if and only if its effect was committed. */
function outboxAgrees(rig: Rig, ran: Ran): void {
  const effects = ran.records.flatMap((record) => (record.f === "effect" ? [`out.${record.msg}`] : []));
  const handled = new Set(
    ran.records.flatMap((record) =>
      record.f === "delivery" && record.type === "handled-ok" && record.dest === ran.topic ? [`out.${record.msg}`] : [],
    ),
  );
  assert(effects.length > 0);
  for (const id of effects) assert(ran.outputs.has(id), "committed, and its message was not sent");
  for (const id of ran.outputs) assert(effects.includes(id), "sent, and not committed");
  for (const id of handled) assert(effects.includes(id), "handled, and no effect of it");
  rig.saw(effects.length);
}

/** A store that is asked through a wrapper knows the transport under it. */
function seenThrough(store: Store): Store {
  return {
    name: store.name,
    outbox: store.outbox,
    open: (options) => store.open(options),
    close: () => store.close(),
    joins: (transport) => store.joins(innermost(transport)),
    begin: (options) => store.begin(options),
    applied: (group, ids) => store.applied(group, ids),
    forget: (olderThanMs) => store.forget(olderThanMs),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

/** A third of the commits gives no answer: before they take effect, or after. */
function failing(store: Store, when: "before" | "after", rig: Rig): Store {
  return {
    ...seenThrough(store),
    begin(options) {
      const transaction = store.begin(options);
      return onCommit(transaction, async (commit) => {
        const fails = rig.random() < 0.35;
        if (fails && when === "before") await transaction.rollback();
        else await commit();
        if (fails) throw new WaybillError("TX_UNKNOWN", "the answer to the commit was lost");
      });
    },
  };
}

/** Every third delivery twice: what a redelivery race looks like to the core. */
const repeating =
  (rig: Rig) =>
  (transport: Transport): Transport =>
    around(transport, {
      async subscribe(request) {
        const subscription = await transport.subscribe(request);
        return {
          ...wrapped(subscription),
          async *deliveries() {
            for await (const batch of subscription.deliveries())
              yield batch.flatMap((delivery) => (rig.random() < 0.3 ? [delivery, { ...delivery }] : [delivery]));
          },
        };
      },
    });

/** A member that stalls does not extend its leases. */
const withoutExtending = (transport: Transport): Transport =>
  around(transport, {
    async subscribe(request) {
      const subscription = await transport.subscribe(request);
      return {
        ...wrapped(subscription),
        async settle(settlements, options) {
          const real = settlements.filter((settlement) => settlement.kind !== "extend");
          const outcomes = real.length === 0 ? [] : [...(await subscription.settle(real, options))];
          return settlements.map((settlement) => (settlement.kind === "extend" ? "done" : (outcomes.shift() ?? "unknown")));
        },
      };
    },
  });
