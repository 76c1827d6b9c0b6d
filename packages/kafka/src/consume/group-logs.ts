import { isOwnTopic, retryTopic } from "../wire/names.ts";

/** A topic of Kafka that a group reads for one of its topics. */
export interface GroupLog {
  readonly name: string;
  /** In positions: nothing for the topic itself. */
  readonly prefix: string;
  /** What lies in it waits so long before it is looked at. */
  readonly stepMs: number | undefined;
}

const steps: readonly (readonly [label: string, prefix: string, stepMs: number])[] = [
  ["10s", "a", 10_000],
  ["1m", "b", 60_000],
  ["10m", "c", 600_000],
  ["1h", "d", 3_600_000],
  ["6h", "e", 21_600_000],
];

/** A shorter wait is waited out in the process. */
export const shortestStepMs = 10_000;

/**
 * The topic, what is put back for the group, and what waits longer: a log for each step, so that in each of them whatever was
 * written first is due first. They are made when something is first written to them.
 */
export function groupLogs(topic: string, group: string): readonly GroupLog[] {
  const own = { name: topic, prefix: "", stepMs: undefined };
  const delays = steps.map(([label, prefix, stepMs]) => ({
    name: `waybill.delay.${label}.${group.split(".").length}.${group}.${topic}`,
    prefix,
    stepMs,
  }));
  if (isOwnTopic(topic, group)) return [own, ...delays];
  return [own, { name: retryTopic(topic, group), prefix: "r", stepMs: undefined }, ...delays];
}

/** Where a message goes that is due in so many ms: where it waits the longest. */
export function delayLog(logs: readonly GroupLog[], leftMs: number): GroupLog | undefined {
  return logs.findLast(({ stepMs }) => stepMs !== undefined && stepMs <= leftMs);
}
