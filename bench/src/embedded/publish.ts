import type { Bench } from "../bench.ts";
import { againstBare } from "./against-bare.ts";

/** Durable publishes: the promise resolves when the message is on the disk. */
export const embeddedPublish: Bench = againstBare({
  name: "embedded-publish",
  ratio: 0.6,
  rate: (side, count) => side.publish(count),
  // The groups catch up, as they would.
  after: (side, count) => side.consume(count),
});
