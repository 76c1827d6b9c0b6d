import { openBareKafka } from "../../bare/kafka.ts";
import type { Bench } from "../bench.ts";
import { inRounds, inTurns } from "../readings.ts";
import { body, key, openOurs, publishAll, rateOf } from "./ours.ts";

const batchSize = 1000;

/** One broker of Kafka 4.1, acknowledgements of all replicas, idempotent: 1,000 callers that publish one by one, and batches made by hand. */
export const kafka: Bench = {
  name: "kafka",
  goals: [
    { name: "kafka-publish-ratio", unit: "of bare", goal: 10, atLeast: true },
    { name: "kafka-publish-many-ratio", unit: "of bare", goal: 0.9, atLeast: true },
  ],
  figures: ["publish", "publish-many"].flatMap((what) =>
    ["ours", "bare"].map((side) => ({ name: `kafka-${what} ${side}`, unit: "msg/s" })),
  ),
  processes: 2,
  rounds: 4,
  async measure({ rounds, scale }) {
    const { startBroker } = await import("@waybill/brokers");
    await using broker = await startBroker("kafka");
    const ours = await openOurs(broker.url);
    const bare = await openBareKafka(`${broker.host}:${broker.port}`, "bench.measured", key);
    const many = 60_000 * scale;
    const few = 3_000 * scale;
    const readings = await inRounds(rounds, async (record, index) => {
      const single = await inTurns(index, {
        ours: () => ours.publish(many),
        // So slow that fewer of them say as much.
        bare: () => rateOf(few, () => publishAll(few, () => bare.single(body))),
      });
      const batched = await inTurns(index, {
        ours: () => ours.publishMany(many, batchSize),
        bare: () =>
          rateOf(many, async () => {
            const bodies = Array.from({ length: batchSize }, () => body);
            for (let at = 0; at < many; at += batchSize) await bare.batch(bodies);
          }),
      });
      for (const [what, rate] of Object.entries({ publish: single, "publish-many": batched })) {
        record.add(`kafka-${what} ours`, rate.ours);
        record.add(`kafka-${what} bare`, rate.bare);
        record.add(`kafka-${what}-ratio`, rate.ours / rate.bare);
      }
    });
    await ours.close();
    await bare.close();
    return readings;
  },
};
