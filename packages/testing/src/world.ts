import type { MemoryBroker } from "@waybill/core";
import type { FaultSettings } from "./faults.ts";
import type { Random } from "./random.ts";
import type { Recorder } from "./recorder.ts";
import type { TestClock } from "./virtual-clock.ts";

/** What outlives a crash: the broker, the time, and what the test has seen. */
export interface World {
  readonly broker: MemoryBroker;
  readonly clock: TestClock;
  readonly faults: FaultSettings;
  readonly random: Random;
  readonly recorder: Recorder;
  /** Something happened: all is not at rest yet. */
  stir(): void;
  readonly activity: number;
  /** A crash point is passed. True: the process dies here. */
  pass(label: string): boolean;
  /** Passed so far. */
  readonly points: readonly string[];
  /** Where it died. */
  readonly crashes: readonly { readonly point: number; readonly label: string }[];
  /** From now on there are no faults. */
  calm(): void;
  /** Calls into stores that take real time: they have to end before the clock may go on. */
  realCalls: number;
}

export function createWorld(parts: Pick<World, "broker" | "clock" | "faults" | "random" | "recorder">): World {
  const { faults, random } = parts;
  const points: string[] = [];
  const crashes: { readonly point: number; readonly label: string }[] = [];
  let activity = 0;
  let calm = false;
  let byChance = 0;

  function dies(point: number): boolean {
    if (calm) return false;
    if (faults.crashAt.has(point)) return true;
    if (byChance >= faults.maxCrashes || !random.chance(faults.crash)) return false;
    byChance += 1;
    return true;
  }

  return {
    ...parts,
    stir: () => void (activity += 1),
    get activity() {
      return activity;
    },
    pass(label) {
      activity += 1;
      if (calm) return false;
      points.push(label);
      if (!dies(points.length)) return false;
      crashes.push({ point: points.length, label });
      return true;
    },
    points,
    crashes,
    calm: () => void (calm = true),
    realCalls: 0,
  };
}
