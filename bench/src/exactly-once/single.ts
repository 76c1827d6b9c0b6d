import type { Bench } from "../bench.ts";
import { againstBare } from "./against-bare.ts";

/** One handler at a time, against one transaction per message: both pay a sync for each. */
export const exactlyOnceSingle: Bench = againstBare({
  name: "exactly-once-single",
  ratio: 0.4,
  concurrency: 1,
  perCommit: 1,
  messages: 1000,
});
