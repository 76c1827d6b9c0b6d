import type { Readings } from "./bench.ts";

/** Gathers a reading a round; those of the warm-up are dropped. */
export interface Recorder {
  add(name: string, value: number): void;
  readings(): Readings;
}

export function createRecorder(): Recorder {
  const all: Record<string, number[]> = {};
  return {
    add(name, value) {
      (all[name] ??= []).push(value);
    },
    readings: () => all,
  };
}

/** Runs `round` once to warm up, and then `rounds` times; only these are recorded. */
export async function inRounds(rounds: number, round: (record: Recorder, index: number) => Promise<void>): Promise<Readings> {
  const recorder = createRecorder();
  for (let index = 0; index <= rounds; index += 1) await round(index === 0 ? createRecorder() : recorder, index);
  return recorder.readings();
}

/** Runs all, forwards in one round and backwards in the next: whoever goes first has no lasting advantage. */
export async function inTurns<Key extends string>(
  index: number,
  parts: Readonly<Record<Key, () => Promise<number>>>,
): Promise<Readonly<Record<Key, number>>> {
  const names = Object.keys(parts) as Key[];
  const results = {} as Record<Key, number>;
  for (const name of index % 2 === 0 ? names : names.toReversed()) results[name] = await parts[name]();
  return results;
}

export function mergeReadings(parts: readonly Readings[]): Readings {
  const all: Record<string, number[]> = {};
  for (const part of parts) for (const [name, values] of Object.entries(part)) (all[name] ??= []).push(...values);
  return all;
}
