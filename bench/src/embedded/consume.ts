import type { Bench } from "../bench.ts";
import { againstBare } from "./against-bare.ts";

/** What waits on the disk is handled and acknowledged. */
export const embeddedConsume: Bench = againstBare({
  name: "embedded-consume",
  ratio: 0.8,
  before: (side, count) => side.publish(count),
  rate: (side, count) => side.consume(count),
});
