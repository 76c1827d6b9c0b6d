import type { Transport } from "@waybill/core";
import type { Case, CaseResult, Need } from "./case.ts";
import { cases as allCases } from "./cases/index.ts";
import { missing, refusals } from "./refusals.ts";
import { openRig } from "./rig.ts";
import type { Rig, RigOptions } from "./rig.ts";
import type { Broker, ConformanceTarget, Faults } from "./target.ts";
import { within } from "./wait.ts";

export interface SuiteOptions {
  /** The larger counts. */
  readonly full?: boolean;
  /** Only the cases whose name holds this text, such as `P01`. */
  readonly only?: string;
  readonly seed?: number;
  /** How long one wait of a case may take. Default 10 s. */
  readonly waitMs?: number;
  readonly cases?: readonly Case[];
  /** Where child processes find the target; cases that need them are untested without it. */
  readonly module?: URL;
  readonly wrap?: (transport: Transport) => Transport;
  /** Told before the first case. */
  readonly onBroker?: (broker: Broker) => void;
  readonly onResult?: (result: CaseResult) => void;
}

/** How many cases that mostly wait run at once. */
export const atOnce = 3;

/** Runs the cases, each with names of its own, on one fresh broker: one after another, then those that mostly wait a few at once. */
export async function runSuite(target: ConformanceTarget, options: SuiteOptions = {}): Promise<readonly CaseResult[]> {
  const results: CaseResult[] = [];
  const broker = await target.start();
  options.onBroker?.(broker);
  const selected = selectCases(options);
  const work = async (queue: Case[]): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const result = await runCase(next, rigOptions(target, broker, options));
      results.push(result);
      options.onResult?.(result);
    }
  };
  try {
    await work(selected.filter((each) => each.together !== true));
    const waiting = selected.filter((each) => each.together === true);
    await Promise.all(Array.from({ length: atOnce }, () => work(waiting)));
  } finally {
    await broker[Symbol.asyncDispose]();
  }
  return results;
}

export function selectCases({ only, full = false, cases = allCases }: Pick<SuiteOptions, "only" | "full" | "cases">): readonly Case[] {
  return cases.filter(({ name, long }) => (only === undefined || name.includes(only)) && (long !== true || full || name === only));
}

export function rigOptions(target: ConformanceTarget, broker: Broker, options: SuiteOptions): RigOptions {
  return {
    target,
    broker,
    seed: options.seed ?? 1,
    full: options.full ?? false,
    waitMs: (options.waitMs ?? 10_000) * (options.full === true ? 6 : 1),
    ...(options.module === undefined ? {} : { module: options.module }),
    ...(options.wrap === undefined ? {} : { wrap: options.wrap }),
  };
}

export async function runCase(tested: Case, options: RigOptions): Promise<CaseResult> {
  const begun = performance.now();
  // What nobody catches belongs to the case that is running (C06), and fails it.
  const strays: unknown[] = [];
  const stray = (error: unknown): void => void strays.push(error);
  process.on("unhandledRejection", stray).on("uncaughtException", stray);
  let rig: Rig | undefined;
  const result = (outcome: CaseResult["outcome"], more: Partial<CaseResult> = {}): CaseResult => ({
    name: tested.name,
    outcome,
    checked: outcome === "proved" ? (rig?.checked() ?? 0) : 0,
    seconds: (performance.now() - begun) / 1_000,
    ...more,
  });
  let ended: CaseResult;
  try {
    rig = await openRig(options, tested.name);
    const deadlineMs = (tested.deadlineMs ?? 30_000) * (options.full ? 20 : 1);
    ended = await within("the case", deadlineMs, outcomeOf(tested, rig, result));
  } catch (error) {
    ended = result("failed", { error });
  }
  try {
    await rig?.dispose();
    await new Promise(setImmediate);
    if (strays.length > 0) throw new Error("an error that nobody caught", { cause: strays[0] });
  } catch (error) {
    if (ended.outcome !== "failed") ended = result("failed", { error });
  } finally {
    process.off("unhandledRejection", stray).off("uncaughtException", stray);
  }
  return ended;
}

async function outcomeOf(
  tested: Case,
  rig: Rig,
  result: (outcome: CaseResult["outcome"], more?: Partial<CaseResult>) => CaseResult,
): Promise<CaseResult> {
  const needs = tested.needs ?? [];
  const absent = missing(rig, needs);
  if (absent.length > 0) {
    for (const need of absent) await refusals[need](rig);
    return result("refused", { why: absent.map((need) => (need === "keeps" ? "durability D0" : `${need}: none`)).join(", ") });
  }
  const without = needs.find((need) => !has(rig, need));
  const why = without === undefined ? tested.unless?.(rig) : `the target has no ${without}`;
  if (why !== undefined) return result("untested", { why });
  await tested.prove(rig);
  return result("proved");
}

function has(rig: Rig, need: Need): boolean {
  if (need === "store") return rig.target.store !== undefined;
  if (need === "processes") return rig.target.processes && rig.module !== undefined;
  if (need === "foreign") return rig.broker.foreign !== undefined;
  if (need === "crash") return rig.target.processes ? rig.module !== undefined : rig.broker.faults.crash !== undefined;
  if (need.startsWith("fault:")) return rig.broker.faults[need.slice("fault:".length) as keyof Faults] !== undefined;
  return true;
}
