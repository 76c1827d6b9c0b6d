import type { Findings, HistoryCounts, Verdict } from "./anomalies.ts";
import { matches } from "./check-state.ts";
import type { Group, Sent, State } from "./check-state.ts";

/** What can only be said when the run is over. */
export function judge(state: State, found: Findings, stuckAfterMs: number): Verdict {
  const owed = groupsByDestination(state);
  let left = 0;
  for (const sent of state.sends.values()) {
    if (!sent.ok && !sent.possible && sent.open === 0 && sent.seen)
      found.add("ABORTED-READ", `${sent.dest}: ${sent.msg} arrived, and its publish had failed`);
    if (!sent.ok && !sent.seen) continue;
    for (const group of owed(sent)) {
      const missing = lost(state, sent, group);
      if (missing === undefined) continue;
      left += 1;
      if (group.claim.delivery === "at-most-once") group.missed -= 1;
      if (group.claim.delivery === "at-least-once" || group.missed < 0)
        found.add("LOST", `${group.group ?? "(reader)"} of ${sent.dest}: ${sent.msg} ${missing}`);
    }
  }
  for (const { earlier, later, group } of state.suspects) {
    if (earlier.ok && later.ok)
      found.add("NONMONO-DELIVERY", `${group.group ?? "(reader)"} of ${group.dest}: ${earlier.msg} came after ${later.msg}`);
  }
  for (const [key, count] of state.effects)
    if (count > 1) found.add("DUP-EFFECT", `${key.replace("\u0000", ": ")} was applied ${count} times`);
  for (const { sent, process } of state.openSends.values()) {
    if (!state.crashes.has(process)) found.add("STUCK", `${sent.dest}: the publish of ${sent.msg} never ended`);
  }
  const idleMs = (state.lastAt - Math.max(state.progressAt, state.healedAt)) / 1e6;
  if (left > 0 && idleMs > stuckAfterMs) found.add("STUCK", `no progress for ${Math.round(idleMs)} ms with work left`);
  const anomalies = found.all();
  const unknown = vacuous(state);
  return {
    // What was found stands, whatever the run failed to show besides.
    verdict: Object.keys(anomalies).length > 0 ? "invalid" : unknown.length > 0 ? "unknown" : "valid",
    anomalies,
    unknown,
    counts: counts(state),
  };
}

function lost(state: State, sent: Sent, group: Group): string | undefined {
  if (sent.expires) return undefined;
  const letters = state.deadLetters.get(sent.msg);
  if (letters !== undefined && (letters.has("") || letters.has(group.group ?? ""))) return undefined;
  const held = group.held.get(sent.msg);
  if (held === undefined || held.delivered === 0) return "was never delivered";
  if (group.handles && group.claim.delivery === "at-least-once" && !held.handled && !held.deadLettered)
    return "was delivered and never handled";
  return undefined;
}

/** Which groups each send is owed to: those that had subscribed before it was invoked. */
function groupsByDestination(state: State): (sent: Sent) => readonly Group[] {
  const known = new Map<string, Group[]>();
  for (const group of state.groups.values()) {
    const list = known.get(group.dest) ?? [];
    list.push(group);
    known.set(group.dest, list);
  }
  const withPatterns = (dest: string): Group[] => {
    const list = known.get(dest) ?? [];
    for (const pattern of state.patterns) {
      if (!matches(pattern.dest, dest) || list.some((each) => each.group === pattern.group)) continue;
      list.push(state.groupOf(dest, pattern.group));
    }
    return list;
  };
  const cache = new Map<string, Group[]>();
  return (sent) => {
    let list = cache.get(sent.dest);
    if (list === undefined) cache.set(sent.dest, (list = withPatterns(sent.dest)));
    return list.filter((group) =>
      sent.only === undefined ? group.since < sent.seq : group.since < Number.POSITIVE_INFINITY && sent.only.has(group.group ?? ""),
    );
  };
}

/** The vacuity guard: a run that did not show anything is not a good one. */
function vacuous(state: State): readonly string[] {
  const why: string[] = [];
  if (state.missing > 0) why.push("records are missing");
  let ok = 0;
  for (const sent of state.sends.values()) if (sent.ok) ok += 1;
  if (ok === 0) why.push("no publish was acknowledged");
  if (state.counts.delivered === 0) why.push("nothing was delivered");
  if (state.faults.landed < state.faults.planned)
    why.push(`${state.faults.landed} of ${state.faults.planned} faults landed while anything was under way`);
  if (state.drained === undefined) why.push("the run did not drain");
  if (state.drained === "timeout") why.push("the drain ended by its time-out");
  return why;
}

function counts(state: State): HistoryCounts {
  let [sends, ok, failed, recovered] = [0, 0, 0, 0];
  for (const sent of state.sends.values()) {
    if (sent.moved) continue;
    sends += 1;
    if (sent.ok) ok += 1;
    else if (!sent.possible && sent.open === 0) failed += 1;
    else if (sent.seen) recovered += 1;
  }
  return {
    records: state.records,
    sent: sends,
    ok,
    failed,
    indefinite: sends - ok - failed,
    ...state.counts,
    recovered,
    deadLettered: state.deadLetters.size,
    crashes: state.crashes.size,
  };
}
