// npm run bench: measures the goals for speed and memory. See README.md for how to read what it prints.
import { availableParallelism, cpus, loadavg, totalmem } from "node:os";
import { readArgs, usage, UsageError, type Args } from "./args.ts";
import type { Bench, Readings } from "./bench.ts";
import { benches } from "./benches.ts";
import { measureApart } from "./process.ts";
import { mergeReadings } from "./readings.ts";
import { figuresOf, judge, table, type FigureResult, type GoalResult } from "./report.ts";

const quickScale = 0.1;

function argsOf(): Args {
  try {
    return readArgs(
      process.argv.slice(2),
      benches.map(({ name }) => name),
    );
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`bench: ${error.message}\n${usage}\n`);
    process.exit(2);
  }
}

async function measure(bench: Bench, args: Args): Promise<Readings> {
  const rounds = args.rounds ?? (args.quick ? 1 : bench.rounds);
  const parts: Readings[] = [];
  for (let left = args.quick ? 1 : bench.processes; left > 0; left -= 1) {
    parts.push(await measureApart(bench, rounds, args.quick ? quickScale : 1));
  }
  return mergeReadings(parts);
}

const args = argsOf();
if (args.help) {
  console.log(`${usage}\n\nbenches: ${benches.map(({ name }) => name).join(", ")}`);
  process.exit(0);
}
const startedAt = new Date();
const loadBefore = loadavg()[0] ?? 0;
const goals: GoalResult[] = [];
const figures: FigureResult[] = [];
const broken: string[] = [];
for (const bench of benches) {
  if (args.only.length > 0 && !args.only.includes(bench.name)) continue;
  const began = performance.now();
  process.stderr.write(`${bench.name} ... `);
  let readings: Readings = {};
  try {
    readings = await measure(bench, args);
  } catch (error) {
    broken.push(`${bench.name}: ${(error as Error).message}`);
  }
  for (const goal of bench.goals) goals.push(judge(goal, readings));
  figures.push(...figuresOf(bench, readings));
  process.stderr.write(`${((performance.now() - began) / 1000).toFixed(1)} s\n`);
}
for (const text of broken) process.stderr.write(`could not be measured: ${text}\n`);
const machine = {
  platform: `${process.platform}-${process.arch}`,
  cpu: cpus()[0]?.model ?? "unknown",
  cores: availableParallelism(),
  memoryGiB: Number((totalmem() / 2 ** 30).toFixed(1)),
  loadBefore: Number(loadBefore.toFixed(2)),
};
if (args.json) {
  const seconds = Number(((Date.now() - startedAt.getTime()) / 1000).toFixed(1));
  console.log(
    JSON.stringify({
      goals,
      figures,
      machine,
      node: process.version,
      startedAt: startedAt.toISOString(),
      seconds,
      quick: args.quick,
    }),
  );
} else {
  const { cores, cpu, platform } = machine;
  console.log(
    `${table(goals, figures)}\n\n${cores} cores, ${cpu}, ${platform}, Node ${process.version}, ${startedAt.toISOString()}, load before ${machine.loadBefore}`,
  );
  console.log(
    `${goals.filter(({ met }) => met).length} of ${goals.length} goals met${args.quick ? " (quick: the figures mean little)" : ""}`,
  );
}
process.exitCode = broken.length > 0 ? 1 : 0;
