import type { BatchChoices, SubscribeChoices } from "./bus-types.ts";
import { checkOptions, configError, type Problem, type SpecFor } from "./config.ts";
import type { Contract } from "./contract.ts";
import { deadLetterTopic } from "./dead-letter.ts";
import { durationMs } from "./duration.ts";
import { WaybillError } from "./errors.ts";
import { checkGroup } from "./pattern.ts";
import type { Plan } from "./plan.ts";
import { checkRetry, checkRetryOptions } from "./retry.ts";

const month = 31 * 86_400_000;

const creditSpec: SpecFor<NonNullable<SubscribeChoices["credit"]>> = {
  messages: { type: "integer", min: 1, max: 1_000_000 },
  bytes: { type: "integer", min: 1 },
};
const rateSpec: SpecFor<NonNullable<SubscribeChoices["rateLimit"]>> = {
  perSecond: { type: "number", min: 0.001, required: true },
  burst: { type: "number", min: 1 },
};
const breakerSpec: SpecFor<NonNullable<SubscribeChoices["circuitBreaker"]>> = {
  failureRate: { type: "number", min: 0.01, max: 1 },
  window: { type: "integer", min: 1, max: 10_000 },
  openFor: { type: "duration", min: 1, max: month },
  trials: { type: "integer", min: 1, max: 1_000 },
};

export const subscribeSpec: SpecFor<SubscribeChoices> = {
  group: { type: "string", minLength: 1, required: true },
  concurrency: { type: "integer", min: 1, max: 100_000 },
  orderBy: { type: "enum", values: ["none", "key", "key-in-process"] },
  timeout: { type: "duration", min: 1, max: month },
  grace: { type: "duration", max: month },
  maxAbandoned: { type: "integer", min: 0 },
  retry: { type: "object", keys: {} },
  from: {
    type: "either",
    of: [
      { type: "enum", values: ["latest", "earliest"] },
      { type: "object", keys: { position: { type: "any" }, time: { type: "number" } } },
    ],
  },
  credit: { type: "object", keys: creditSpec },
  lease: { type: "duration", min: 100, max: month },
  delivery: { type: "enum", values: ["at-most-once", "at-least-once"] },
  exactlyOnce: {
    type: "either",
    of: [
      { type: "enum", values: ["transport"] },
      { type: "shape", methods: ["begin", "applied", "joins"], name: "a Store" },
    ],
  },
  rateLimit: { type: "object", keys: rateSpec },
  circuitBreaker: { type: "object", keys: breakerSpec },
  middleware: { type: "array", of: { type: "function" } },
  native: { type: "any" },
};
export const batchSpec: SpecFor<BatchChoices> = {
  ...subscribeSpec,
  size: { type: "integer", min: 1, max: 100_000 },
  within: { type: "duration", max: month },
};

export interface PlanDefaults {
  readonly retryAttempts: number;
  readonly batchSize: number;
  readonly batch: boolean;
  readonly group: (name: string) => string;
}

/** What is subscribed to; a wildcard makes it a pattern. */
export interface Subject {
  readonly topic: string | undefined;
  readonly pattern: string | undefined;
  readonly contract: Contract | undefined;
}

/** Throws `CONFIG` with every wrong path, or `NAME`. `path` starts them. */
export function planOf(subject: Subject, choices: SubscribeChoices | BatchChoices, path: string, defaults: PlanDefaults): Plan {
  const problems = problemsOf(choices, path, defaults.batch);
  if (problems.length > 0) throw configError(problems);
  checkGroup(choices.group);
  checkLength(subject, defaults.group(choices.group));
  const { size = defaults.batchSize, within = "50ms" }: Partial<BatchChoices> = choices;
  const batchSize = defaults.batch ? size : 1;
  const withinMs = defaults.batch ? durationMs(within, `${path}.within`) : 0;
  const concurrency = batchSize * (choices.concurrency ?? 1);
  return {
    ...subject,
    group: defaults.group(choices.group),
    concurrency,
    batchSize,
    withinMs,
    orderBy: choices.orderBy ?? "none",
    timeoutMs: durationMs(choices.timeout ?? "30s", `${path}.timeout`) + withinMs,
    graceMs: durationMs(choices.grace ?? "5s", `${path}.grace`),
    maxAbandoned: choices.maxAbandoned ?? concurrency,
    retry: checkRetry(choices.retry ?? {}, `${path}.retry`, { attempts: defaults.retryAttempts }),
    from: choices.from ?? "latest",
    credit: {
      messages: choices.credit?.messages ?? Math.max(4 * concurrency, 200),
      bytes: choices.credit?.bytes ?? 32 * 1024 * 1024,
    },
    leaseMs: durationMs(choices.lease ?? "30s", `${path}.lease`),
    delivery: choices.delivery ?? "at-least-once",
    exactlyOnce: choices.exactlyOnce,
    native: choices.native,
  };
}

/** The strictest broker (Kafka) allows 249 characters, and the dead-letter topic is the longest name that is made of these. */
function checkLength({ topic, pattern }: Subject, group: string): void {
  const name = topic ?? pattern ?? "";
  const made = deadLetterTopic(name, group).length;
  if (made > 249) {
    throw new WaybillError("NAME", `topic and group make a dead-letter topic of ${made} characters: at most 249 are allowed`, {
      remedy: "shorten the topic or the group",
    });
  }
}

function problemsOf(choices: SubscribeChoices | BatchChoices, path: string, batch: boolean): readonly Problem[] {
  const spec = batch ? batchSpec : subscribeSpec;
  // The retry options have a check of their own, so their keys are not looked at here.
  const { retry, ...rest } = { ...choices };
  const problems = [...checkOptions(rest, spec, path)];
  if (retry !== undefined) problems.push(...checkRetryOptions(retry, `${path}.retry`));
  return problems;
}
