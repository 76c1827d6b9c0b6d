import { openBareRabbitmq } from "../../bare/rabbitmq.ts";
import type { Bench } from "../bench.ts";
import { inRounds, inTurns } from "../readings.ts";
import { body, key, openOurs, publishAll, rateOf } from "./ours.ts";

/** A quorum queue of RabbitMQ 3.10: publishes that are confirmed, 1,000 in flight; then all is handled and acknowledged. */
export const rabbitmq: Bench = {
  name: "rabbitmq",
  goals: [
    { name: "rabbitmq-publish-ratio", unit: "of bare", goal: 1.05, atLeast: true },
    { name: "rabbitmq-consume-ratio", unit: "of bare", goal: 1.5, atLeast: true },
  ],
  figures: ["publish", "consume"].flatMap((what) => ["ours", "bare"].map((side) => ({ name: `rabbitmq-${what} ${side}`, unit: "msg/s" }))),
  processes: 2,
  rounds: 4,
  async measure({ rounds, scale }) {
    const { startBroker } = await import("@waybill/brokers");
    await using broker = await startBroker("rabbitmq");
    const ours = await openOurs(broker.url);
    const bare = await openBareRabbitmq(broker.url);
    const count = 30_000 * scale;
    let handled = 0;
    const readings = await inRounds(rounds, async (record, index) => {
      const published = await inTurns(index, {
        ours: () => ours.publish(count),
        bare: () => rateOf(count, () => publishAll(count, () => bare.publish(body, key))),
      });
      const consumed = await inTurns(index, {
        ours: () => ours.consume(count),
        bare: () =>
          rateOf(count, () =>
            bare.consume(count, async () => {
              handled += 1;
            }),
          ),
      });
      for (const [what, rate] of Object.entries({ publish: published, consume: consumed })) {
        record.add(`rabbitmq-${what} ours`, rate.ours);
        record.add(`rabbitmq-${what} bare`, rate.bare);
        record.add(`rabbitmq-${what}-ratio`, rate.ours / rate.bare);
      }
    });
    if (handled < count * rounds) throw new Error("the bare side has not handled all");
    await ours.close();
    await bare.close();
    return readings;
  },
};
