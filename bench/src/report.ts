import type { Bench, Goal, Readings } from "./bench.ts";
import { summarize } from "./median.ts";

export interface GoalResult {
  readonly name: string;
  /** Null: it could not be measured, and so is not met. */
  readonly value: number | null;
  readonly unit: string;
  readonly goal: number;
  readonly atLeast: boolean;
  readonly met: boolean;
  readonly low: number | null;
  readonly high: number | null;
  readonly samples: number;
}

export interface FigureResult {
  readonly name: string;
  readonly value: number | null;
  readonly unit: string;
  readonly low: number | null;
  readonly high: number | null;
}

/** The limit is compared with what was measured, not with what is printed of it. */
export function judge(goal: Goal, readings: Readings): GoalResult {
  const { value, low, high, samples } = summarize(readings[goal.name] ?? [], goal.pick);
  const met = samples > 0 && (goal.atLeast ? value >= goal.goal : value <= goal.goal);
  const { name, unit, atLeast } = goal;
  return { name, value: round(value), unit, goal: goal.goal, atLeast, met, low: round(low), high: round(high), samples };
}

export function figuresOf({ figures }: Bench, readings: Readings): FigureResult[] {
  return figures.map(({ name, unit }) => {
    const { value, low, high } = summarize(readings[name] ?? []);
    return { name, value: round(value), unit, low: round(low), high: round(high) };
  });
}

/** Four digits that say something. */
export function round(value: number): number | null {
  if (!Number.isFinite(value)) return null;
  return Math.abs(value) >= 1000 ? Math.round(value) : Number(value.toPrecision(4));
}

export function table(goals: readonly GoalResult[], figures: readonly FigureResult[]): string {
  const rows = [["", "goal", "measured", "", "low..high", "asked for"]];
  for (const { name, value, unit, low, high, goal, atLeast, met } of goals) {
    rows.push([met ? "ok" : "MISS", name, text(value), unit, span(low, high), `${atLeast ? ">=" : "<="} ${text(goal)}`]);
  }
  rows.push(["", "", "", "", "", ""], ["", "beside them", "measured", "", "low..high", ""]);
  for (const { name, value, unit, low, high } of figures) rows.push(["", name, text(value), unit, span(low, high), ""]);
  const widths = [0, 1, 2, 3, 4, 5].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => (column === 2 || column === 4 ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)))
      .join("  ");
  return rows.map((row) => line(row).trimEnd()).join("\n");
}

function text(value: number | null): string {
  return value === null ? "-" : value.toLocaleString("en-US", { maximumFractionDigits: 6 });
}

function span(low: number | null, high: number | null): string {
  return low === null || low === high ? "" : `${text(low)}..${text(high)}`;
}
