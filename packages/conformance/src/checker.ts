import { findings } from "./anomalies.ts";
import type { Verdict } from "./anomalies.ts";
import { checkDeliveries } from "./check-deliveries.ts";
import { checkSends } from "./check-sends.ts";
import { judge } from "./check-end.ts";
import { emptyState } from "./check-state.ts";
import type { HistoryRecord } from "./history.ts";

export interface Checker {
  /** In the order of `seq`. */
  add(record: HistoryRecord): void;
  /** Of what was added so far; the run is taken to be over. */
  verdict(): Verdict;
}

export interface CheckerOptions {
  /** Time without progress after the last fault that counts as stuck, with work left to do. Default 10 s. */
  readonly stuckAfterMs?: number;
}

/**
 * History in, verdict out: streaming, no clock, no input but the records. O(n log n) in their number; what it keeps is in
 * proportion to the messages, not to the records. The classes follow Jepsen's checkers (`anomalies.ts` names them).
 */
export function createChecker(options: CheckerOptions = {}): Checker {
  const state = emptyState();
  const found = findings();
  return {
    add(record) {
      if (record.seq !== state.records) state.missing += 1;
      state.records += 1;
      state.lastAt = record.tMono;
      switch (record.f) {
        case "send":
          return checkSends(state, record);
        case "delivery":
          return checkDeliveries(state, record, found);
        case "group":
          if (record.type === "subscribed") state.subscribed(record);
          else state.revoked(record);
          return;
        case "commit":
          return state.committed(record, found);
        case "effect":
          state.effect(record.group, record.msg, record.count ?? 1);
          return;
        case "gap":
          state.gap(record);
          return;
        case "fault":
          state.fault(record);
          return;
        case "process":
          if (record.type === "crash") state.crashed(record.proc, record.inc);
          return;
        case "drain":
          if (record.type === "end") state.drained = record.reason ?? "complete";
          return;
      }
    },
    verdict: () => judge(state, found, options.stuckAfterMs ?? 10_000),
  };
}

export function checkHistory(records: Iterable<HistoryRecord>, options?: CheckerOptions): Verdict {
  const checker = createChecker(options);
  for (const record of records) checker.add(record);
  return checker.verdict();
}
