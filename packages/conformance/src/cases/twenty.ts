import assert from "node:assert/strict";
import { event } from "@waybill/core";
import { around, wrapped } from "../around.ts";
import { openBus } from "../buses.ts";
import type { BusChoices } from "../buses.ts";
import type { Case } from "../case.ts";

export const twentyCases: readonly Case[] = [
  {
    name: "D14 D16 of twenty messages one fails once and one always: nineteen are handled, one is a dead letter, nothing loops",
    needs: ["settle", "groups"],
    together: true,
    async prove(rig) {
      const topic = rig.unique("twenty");
      const contract = event<number>(topic, { key: (number) => `k${number % 4}` });
      const tries = new Map<number, number>();
      const handled = new Set<number>();
      let delivered = 0;
      const attempts = 3;
      const counting: BusChoices = {
        around: (transport) =>
          around(transport, {
            async subscribe(request) {
              const subscription = await transport.subscribe(request);
              return {
                ...wrapped(subscription),
                async *deliveries() {
                  for await (const batch of subscription.deliveries()) {
                    delivered += batch.length;
                    yield batch;
                  }
                },
              };
            },
          }),
      };
      const bus = await openBus(rig, counting, (one) => {
        one.subscribe(contract, { group: "g", concurrency: 4, retry: { attempts } }, (number) => {
          const tried = (tries.get(number) ?? 0) + 1;
          tries.set(number, tried);
          if (number === 13 || (number === 7 && tried === 1)) throw new Error("card refused");
          handled.add(number);
        });
      });
      await bus.publishMany(
        contract,
        Array.from({ length: 20 }, (_, number) => number),
      );
      const counters = () => bus.metrics().groups[topic]?.["g"];
      await rig.until("nineteen handled, one given up", () => handled.size === 19 && counters()?.deadLettered === 1, 20_000);
      // A loop would go round in the meantime.
      const begun = performance.now();
      await rig.until("a while", () => performance.now() - begun > rig.scale(1_500, 10_000), 11_000);
      assert.equal(handled.size, 19);
      for (const [number, tried] of tries) assert.equal(tried, number === 13 ? attempts : number === 7 ? 2 : 1, `tries of ${number}`);
      assert(delivered <= 20 + 2 * attempts, `${delivered} deliveries of 20 messages`);
      const letters = await bus.deadLetters(contract, { group: "g" }).list();
      assert.equal(letters.length, 1);
      assert(letters[0]?.cause.text.includes("card refused") === true, "the dead letter says why");
      assert.equal(letters[0].cause.attempts, attempts);
      rig.saw(20);
    },
  },
];
