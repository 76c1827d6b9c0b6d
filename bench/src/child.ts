// One process of one bench: told which by its parent, or by the command line when it is profiled:
//   node --expose-gc --conditions=@waybill/source --cpu-prof bench/src/child.ts memory-publish 4
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { benches } from "./benches.ts";
import type { Readings } from "./bench.ts";
import { median } from "./median.ts";
import type { Answer, Ask } from "./process.ts";

async function run({ name, rounds, scale, directory }: Ask): Promise<Readings> {
  const bench = benches.find((one) => one.name === name);
  if (bench === undefined) throw new Error(`no bench is called ${name}`);
  return bench.measure({ rounds, scale, directory });
}

async function answer(ask: Ask): Promise<void> {
  const result: Answer = await run(ask).then(
    (readings) => ({ readings }),
    (error: unknown) => ({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
  process.send?.(result, undefined, undefined, () => process.exit("readings" in result ? 0 : 1));
}

const [name, rounds = "3", scale = "1"] = process.argv.slice(2);
if (name === undefined) process.once("message", (ask: Ask) => void answer(ask));
else {
  const directory = await mkdtemp(join(tmpdir(), "waybill-bench-"));
  try {
    const readings = await run({ name, rounds: Number(rounds), scale: Number(scale), directory });
    for (const [figure, values] of Object.entries(readings)) console.log(figure, median(values), values);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
