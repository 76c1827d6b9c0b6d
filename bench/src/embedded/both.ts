import type { Bench } from "../bench.ts";
import { againstBare } from "./against-bare.ts";

/** Published and consumed at the same time, in one process. */
export const embeddedBoth: Bench = againstBare({
  name: "embedded-both",
  ratio: 0.8,
  rate: (side, count) => side.both(count),
});
