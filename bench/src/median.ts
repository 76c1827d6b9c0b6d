/** The middle value; of an even number the mean of the two in the middle. NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** What was measured in the rounds of one figure. */
export interface Summary {
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly samples: number;
}

/** The median and the span around it; `worst`: the highest instead, for what may never be exceeded. */
export function summarize(values: readonly number[], pick: "median" | "worst" = "median"): Summary {
  const high = values.length === 0 ? Number.NaN : Math.max(...values);
  const low = values.length === 0 ? Number.NaN : Math.min(...values);
  return { value: pick === "worst" ? high : median(values), low, high, samples: values.length };
}
