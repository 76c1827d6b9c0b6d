import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createBus, event, memoryBroker } from "@waybill/core";
import type { Transport } from "@waybill/core";
import { around, wrapped } from "./around.ts";
import { checkHistory } from "./checker.ts";
import { collector, createRecorder, handleMiddleware, record } from "./recorder.ts";

describe("a recorded bus", () => {
  it("gives a valid history of what it did", async () => {
    const { verdict, counts, anomalies } = await recorded((transport) => transport);
    assert.equal(verdict, "valid", JSON.stringify(anomalies));
    assert.deepEqual([counts.ok, counts.handled, counts.redelivered], [50, 50, 0]);
  });
  it("shows a transport that drops what it acknowledged", async () => {
    let dropped = 0;
    const { anomalies } = await recorded((transport) =>
      around(transport, {
        async publish(messages, options) {
          const kept = messages.filter((message) => (message.body as { n: number }).n !== 7 || (dropped += 1) > 1);
          const outcomes = kept.length === 0 ? [] : await transport.publish(kept, options);
          return messages.map((message) => outcomes[kept.indexOf(message)] ?? { ok: true });
        },
      }),
    );
    assert.deepEqual(Object.keys(anomalies), ["LOST"]);
  });
  it("shows a transport that changes a body", async () => {
    const { anomalies } = await recorded((transport) =>
      around(transport, {
        async subscribe(request) {
          const subscription = await transport.subscribe(request);
          return {
            ...wrapped(subscription),
            async *deliveries() {
              for await (const batch of subscription.deliveries()) {
                yield batch.map((delivery) => ({ ...delivery, message: { ...delivery.message, body: { n: 0, more: true } } }));
              }
            },
          };
        },
      }),
    );
    assert.deepEqual(Object.keys(anomalies), ["CORRUPT"]);
  });
});

/** Fifty messages through a bus whose transport is `wrap` of a memory queue. */
async function recorded(wrap: (transport: Transport) => Transport): Promise<ReturnType<typeof checkHistory>> {
  const history = collector();
  const recorder = createRecorder({ run: "test", seed: 1, proc: "p", inc: 0, write: history.write });
  const contract = event<{ readonly n: number }>("recorded");
  const bus = createBus({ name: "recorded", transport: record(wrap(memoryBroker().open()), recorder, { handles: true }) });
  const all = Promise.withResolvers<void>();
  let handled = 0;
  bus.subscribe(contract, { group: "g", middleware: [handleMiddleware(recorder)] }, (_, ctx) => {
    handled += 1;
    if (ctx.message.correlationId === "last") all.resolve();
  });
  await bus.start();
  for (let n = 0; n < 50; n += 1) await bus.publish(contract, { n }, n === 49 ? { correlationId: "last" } : {});
  await all.promise;
  await bus.close();
  assert(handled > 0);
  recorder.add({ f: "drain", type: "end", reason: "complete" });
  return checkHistory(history.records);
}
