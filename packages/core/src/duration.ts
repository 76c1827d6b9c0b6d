import { WaybillError } from "./errors.ts";

/** `"250ms"`, `"30s"`, `"5m"`, `"1h"`, `"7d"` (fractions allowed: `"1.5s"`), or a number of milliseconds. */
export type Duration = string | number;

export interface DurationBounds {
  /** In ms; 0 if not given. */
  readonly min?: number;
  /** In ms. */
  readonly max?: number;
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const form = /^(\d{1,15}(?:\.\d{1,9})?) ?(ms|s|m|h|d)$/;

/** Milliseconds, or undefined where `value` is no duration within the bounds. Never throws. */
export function readDuration(value: unknown, bounds: DurationBounds = {}): number | undefined {
  let ms: number;
  if (typeof value === "number") {
    ms = value;
  } else if (typeof value === "string") {
    const parts = form.exec(value);
    if (parts === null) return undefined;
    // 1.1 * 1000 is 1100.0000000000002: durations are exact to the microsecond.
    ms = Math.round(Number(parts[1]) * (unitMs[parts[2] ?? ""] ?? Number.NaN) * 1_000) / 1_000;
  } else {
    return undefined;
  }
  const fits = ms >= (bounds.min ?? 0) && ms <= (bounds.max ?? Number.MAX_SAFE_INTEGER);
  return fits ? ms : undefined;
}

/** What a duration within these bounds looks like, for an error text. */
export function expectedDuration(bounds: DurationBounds = {}): string {
  let text = 'a duration such as "30s", or milliseconds';
  if (bounds.min !== undefined && bounds.min > 0) text += `, at least ${bounds.min} ms`;
  if (bounds.max !== undefined) text += `, at most ${bounds.max} ms`;
  return text;
}

/**
 * Milliseconds of a duration.
 * @throws `CONFIG`, naming `path` and what was expected; never the value.
 */
export function durationMs(value: Duration, path: string, bounds: DurationBounds = {}): number {
  const ms = readDuration(value, bounds);
  if (ms === undefined) throw new WaybillError("CONFIG", `${path}: expected ${expectedDuration(bounds)}`);
  return ms;
}
