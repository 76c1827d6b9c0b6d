import assert from "node:assert/strict";
import type { Case } from "../case.ts";
import { crashPoints } from "../crash-points.ts";
import type { CrashPoint } from "../crash-points.ts";
import { assertValid, crashRun } from "../crash-run.ts";
import type { CrashRun } from "../crash-run.ts";

interface Crash {
  readonly point: CrashPoint;
  readonly properties: string;
  readonly run: Omit<CrashRun, "deaths" | "point">;
}

const crashes: readonly Crash[] = [
  { point: "CP1", properties: "P01 P04", run: { victim: "producer" } },
  { point: "CP2", properties: "P01 P05 P06", run: { victim: "producer" } },
  { point: "CP3", properties: "P01 P06", run: { victim: "producer" } },
  { point: "CP4", properties: "P01 D01", run: { victim: "consumer" } },
  { point: "CP5", properties: "D01 D02", run: { victim: "consumer" } },
  { point: "CP6", properties: "D01 D03", run: { victim: "consumer" } },
  { point: "CP7", properties: "D05 D06", run: { victim: "consumer" } },
  { point: "CP10", properties: "D16", run: { victim: "consumer", consumer: { failEvery: 4 } } },
];

/** Real processes where the target can be opened by one, else buses that are abandoned. */
export const crashCases: readonly Case[] = crashes.map(({ point, properties, run }) => ({
  name: `${properties} ${point}: killed where ${crashPoints[point]}`,
  needs: ["settle", "crash"],
  together: true,
  deadlineMs: 90_000,
  async prove(rig) {
    const deaths = rig.scale(2, 20);
    const { verdict } = await crashRun(rig, { ...run, point, deaths });
    assertValid(verdict);
    assert.equal(verdict.counts.crashes, deaths);
  },
}));
