export const anomalyClasses = [
  "LOST",
  "UNEXPECTED",
  "ABORTED-READ",
  "EARLY-ACK",
  "OFFSET-JUMP",
  "STALE-ACK",
  "OVERLAP",
  "DUP-EFFECT",
  "CORRUPT",
  "STUCK",
  "STORED-DUP",
  "NONMONO-DELIVERY",
  "INCONSISTENT-OFFSET",
] as const;
export type AnomalyClass = (typeof anomalyClasses)[number];

export interface Anomaly {
  readonly count: number;
  /** The first few, in words: ids and names only. */
  readonly examples: readonly string[];
}

export interface HistoryCounts {
  readonly records: number;
  readonly sent: number;
  readonly ok: number;
  readonly failed: number;
  readonly indefinite: number;
  readonly delivered: number;
  readonly handled: number;
  readonly handlerErrors: number;
  readonly redelivered: number;
  /** Indefinite, and it appeared. */
  readonly recovered: number;
  readonly deadLettered: number;
  readonly crashes: number;
}

export interface Verdict {
  readonly verdict: "valid" | "invalid" | "unknown";
  readonly anomalies: Partial<Record<AnomalyClass, Anomaly>>;
  /** Why it is unknown: the run cannot show what it was to show. */
  readonly unknown: readonly string[];
  readonly counts: HistoryCounts;
}

export interface Findings {
  add(found: AnomalyClass, example: string): void;
  readonly all: () => Partial<Record<AnomalyClass, Anomaly>>;
}

export function findings(): Findings {
  const found = new Map<AnomalyClass, { count: number; examples: string[] }>();
  return {
    add(name, example) {
      const entry = found.get(name) ?? { count: 0, examples: [] };
      entry.count += 1;
      if (entry.examples.length < 5) entry.examples.push(example);
      found.set(name, entry);
    },
    all: () => Object.fromEntries(found),
  };
}
