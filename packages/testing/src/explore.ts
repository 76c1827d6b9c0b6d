import type { Bus } from "@waybill/core";
import { readReplay, seedVariable, type Faults } from "./faults.ts";
import { randomSeed } from "./random.ts";
import { testBus, type TestBus, type TestBusOptions } from "./test-bus.ts";

/** What one run is made of: the setup of the service, and what it shares with the scenario, such as a store. Made anew for each run. */
export interface Scene {
  readonly setup: (bus: Bus) => void;
}

/** Drives the service and asserts. It must hold whatever went wrong on the way. */
export type Scenario<S extends Scene> = (test: TestBus, scene: S) => Promise<void>;

export interface CrashOptions extends Omit<TestBusOptions, "faults" | "test"> {
  /** Faults besides the crash. */
  readonly faults?: Omit<Faults, "crash" | "maxCrashes" | "crashAt">;
  /** Crash points that are tried at most, spread over all of them. Default: all. */
  readonly maxRuns?: number;
}

export interface CrashReport {
  /** Of a run without a crash. */
  readonly points: readonly string[];
  readonly runs: number;
}

/**
 * Runs the scenario once without a crash and then once for each crash point: before each call into the transport or a store,
 * and between its effect and its answer. The process dies there and starts anew on the same broker. Rejects with the first
 * failure, and says how to repeat it.
 */
export async function crashEverywhere<S extends Scene>(
  make: () => S | Promise<S>,
  scenario: Scenario<S>,
  options: CrashOptions = {},
): Promise<CrashReport> {
  const { maxRuns = Infinity, ...rest } = options;
  const replay = readReplay();
  const seed = replay?.seed ?? options.seed ?? randomSeed();
  const run = (crashAt: number | undefined): Promise<readonly string[]> =>
    runOnce(make, scenario, { ...rest, seed, faults: { ...options.faults, ...(crashAt === undefined ? {} : { crashAt }) } });
  if (replay?.crashAt !== undefined) return { points: await run(replay.crashAt), runs: 1 };
  const points = await run(undefined);
  const step = Math.max(1, points.length / maxRuns);
  let runs = 1;
  for (let at = 1; Math.floor(at) <= points.length; at += step) {
    await run(Math.floor(at));
    runs += 1;
  }
  return { points, runs };
}

export interface ExploreOptions extends Omit<TestBusOptions, "test"> {
  /** Each with a seed of its own. Default 50. */
  readonly runs?: number;
}

/**
 * Runs the scenario many times, each with another seed. Rejects with the first failure, and tells its seed; with that in
 * `WAYBILL_TEST_SEED` only this one is run.
 */
export async function explore<S extends Scene>(
  make: () => S | Promise<S>,
  scenario: Scenario<S>,
  options: ExploreOptions = {},
): Promise<void> {
  const { runs = 50, ...rest } = options;
  const replay = readReplay();
  const first = replay?.seed ?? options.seed ?? randomSeed();
  const faults: Faults = { ...options.faults, ...(replay?.crashAt === undefined ? {} : { crashAt: replay.crashAt }) };
  for (let run = 0; run < (replay === undefined ? runs : 1); run += 1) {
    await runOnce(make, scenario, { ...rest, faults, seed: (first + run) >>> 0 });
  }
}

async function runOnce<S extends Scene>(
  make: () => S | Promise<S>,
  scenario: Scenario<S>,
  options: TestBusOptions,
): Promise<readonly string[]> {
  const scene = await make();
  const test = await testBus(scene.setup, options);
  try {
    await scenario(test, scene);
    return test.points;
  } catch (error) {
    throw new Error(failureText(error, test, options), { cause: error });
  } finally {
    await test.close();
  }
}

function failureText(error: unknown, { seed, crashes }: TestBus, { faults }: TestBusOptions): string {
  const where = crashes.map(({ point, label }) => `crash point ${point}, ${label}`).join("; ");
  const only = typeof faults?.crashAt === "number" ? `:${faults.crashAt}` : "";
  const text = error instanceof Error ? error.message : String(error);
  return `seed ${seed}${where === "" ? ", no crash" : `, ${where}`} (${seedVariable}=${seed}${only} repeats it): ${text}`;
}
