import type { Bench } from "../bench.ts";
import { againstBare } from "./against-bare.ts";

/** 32 handlers at once, whose transactions are collected, against 200 savepoints per commit. */
export const exactlyOnceConcurrent: Bench = againstBare({
  name: "exactly-once-concurrent",
  ratio: 0.2,
  concurrency: 32,
  perCommit: 200,
  messages: 10_000,
});
