import type { Arguments } from "./args.ts";
import type { RunResult } from "./run.ts";

/** The outcome for people: what the audit found, and how long it took. */
export function summary(result: RunResult, args: Arguments): string[] {
  const { audit, kills } = result;
  const seconds = result.elapsedMs / 1000;
  const lines = [
    "",
    `${count(audit.orders)} orders in ${seconds.toFixed(1)} s, ${(audit.orders / Math.max(seconds, 0.001)).toFixed(0)} a second`,
  ];
  const also = result.restarts === undefined ? "" : `, and ${result.restarts} of ${args.transport} itself`;
  if (args.chaos) lines.push(`${kills} kills, each with orders unfinished${also}`);
  if (args.chaos && kills < args.kills) lines.push(`${kills} kills and not ${args.kills}: the orders were over before`);
  if (result.failure !== undefined) lines.push(`Failed: ${result.failure.message}`);
  if (result.ending === "stuck") lines.push("Gave up waiting: nothing moved any more, and queues were not empty");
  if (audit.ok) {
    lines.push(
      `Audit: ok. ${count(audit.shipped)} shipped, ${count(audit.deadLettered)} dead-lettered, exactly those whose payment had to fail, each with its cause; ` +
        "the stock is right to the piece, nothing lost, nothing applied twice",
    );
  } else {
    lines.push(`Audit: NOT ok, ${count(audit.problemCount)} problems`);
    for (const problem of audit.problems) lines.push(`  ${problem}`);
    if (audit.problemCount > audit.problems.length) lines.push(`  and ${count(audit.problemCount - audit.problems.length)} more`);
  }
  return lines;
}

/** The last line of the output. */
export function jsonLine({ audit, rejected, kills, restarts, failure }: RunResult): string {
  const { orders, shipped, deadLettered, retried, lost, duplicateEffects, ok } = audit;
  return JSON.stringify({
    orders,
    shipped,
    deadLettered,
    retried,
    rejected,
    kills,
    ...(restarts === undefined ? {} : { restarts }),
    lost,
    duplicateEffects,
    ok: ok && failure === undefined,
  });
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}
