/** What the rounds of a bench gave, by the name of a goal or of a figure. One entry a round. */
export type Readings = Readonly<Record<string, readonly number[]>>;

export interface Goal {
  readonly name: string;
  readonly unit: string;
  /** The limit. */
  readonly goal: number;
  /** True: the value must be at least the limit; false: at most. */
  readonly atLeast: boolean;
  /** Default `median`. */
  readonly pick?: "median" | "worst";
}

/** Shown beside the goals, so that a ratio can be understood; nothing is asked of it. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
}

export interface Settings {
  /** Counted rounds in one process; one more goes before them and is dropped. */
  readonly rounds: number;
  /** Of a round: 1 is the full size. */
  readonly scale: number;
  /** A directory of its own, removed afterwards. */
  readonly directory: string;
}

/** One file each. It runs in processes of its own, so that none inherits another's heap or compiled code. */
export interface Bench {
  readonly name: string;
  readonly goals: readonly Goal[];
  readonly figures: readonly Figure[];
  /** Its processes, one after the other; their readings are put together. */
  readonly processes: number;
  /** In each process. */
  readonly rounds: number;
  measure(settings: Settings): Promise<Readings>;
}
