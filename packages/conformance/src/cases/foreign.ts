import assert from "node:assert/strict";
import { event } from "@waybill/core";
import { openBus } from "../buses.ts";
import type { Case } from "../case.ts";
import { delivery } from "./bus-publish.ts";

interface Order {
  readonly id: string;
  readonly lines: readonly { readonly sku: string; readonly quantity: number }[];
}
const order = (id: string): Order => ({ id, lines: [{ sku: "α-1", quantity: 2 }] });
const text = (body: Uint8Array): string => new TextDecoder().decode(body);

export const foreignCases: readonly Case[] = [
  {
    name: "JSON that another client publishes, without a header of ours, is handled, and retried like any other",
    needs: ["groups", "foreign"],
    async prove(rig) {
      const { foreign } = rig.broker;
      assert(foreign !== undefined);
      const topic = rig.unique("foreign");
      const handled: { readonly body: Order; readonly attempt: number; readonly id: string }[] = [];
      await openBus(rig, {}, (bus) => {
        bus.subscribe(event<Order>(topic), { group: "g", concurrency: 4, ...delivery(rig) }, (body, ctx) => {
          if (body.id === "twice" && ctx.attempt === 1 && rig.capabilities.settle.level !== "none") throw new Error("once more");
          handled.push({ body, attempt: ctx.attempt, id: ctx.message.id });
        });
      });
      const names = ["one", "two", "twice"];
      for (const name of names) await foreign.publish(topic, new TextEncoder().encode(JSON.stringify(order(name))));
      await rig.until("all that it published", () => handled.length >= names.length);
      assert.deepEqual(handled.map(({ body }) => body.id).toSorted(), names.toSorted());
      for (const { body } of handled) assert.deepEqual(body, order(body.id));
      assert.equal(new Set(handled.map(({ id }) => id)).size, names.length, "each has an id of its own");
      rig.saw(names.length);
    },
  },
  {
    name: "what is published here is a plain body and headers for another client",
    needs: ["foreign"],
    async prove(rig) {
      const { foreign } = rig.broker;
      assert(foreign !== undefined);
      const topic = rig.unique("plain");
      const bus = await openBus(rig);
      const reader = await foreign.read(topic);
      rig.defer(() => reader.close());
      const headers = rig.capabilities.headers.level === "none" ? {} : { tenant: "acme" };
      await bus.publish(event<Order>(topic), order("mine"), { headers });
      const got = await rig.within("its message", reader.next());
      assert.equal(text(got.body), JSON.stringify(order("mine")), "the body is the JSON, and nothing else");
      for (const [name, value] of Object.entries(headers)) assert.equal(got.headers[name], value);
      rig.saw(1);
    },
  },
];
