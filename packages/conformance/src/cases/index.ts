import type { Case } from "../case.ts";
import { badInputCases } from "./bad-input.ts";
import { busConsumeCases } from "./bus-consume.ts";
import { busPublishCases } from "./bus-publish.ts";
import { confirmCases } from "./confirm.ts";
import { crashCases } from "./crash.ts";
import { diskCases } from "./disk.ts";
import { effectCases } from "./effect.ts";
import { faceCases } from "./faces.ts";
import { flowCases } from "./flow.ts";
import { foreignCases } from "./foreign.ts";
import { groupCases } from "./group.ts";
import { halfOpenCases } from "./half-open.ts";
import { leaseCases } from "./lease.ts";
import { livenessCases } from "./liveness.ts";
import { outageCases } from "./outage.ts";
import { networkCases } from "./network.ts";
import { orderCases } from "./order.ts";
import { publishCases } from "./publish.ts";
import { replayCases } from "./replay.ts";
import { settleCases } from "./settle.ts";
import { startCases } from "./start.ts";
import { takeoverCases } from "./takeover.ts";
import { timingCases } from "./timing.ts";
import { twentyCases } from "./twenty.ts";
import { wipedCases } from "./wiped.ts";

/** Every case there is, in the order in which they run. */
export const cases: readonly Case[] = [
  ...publishCases,
  ...confirmCases,
  ...settleCases,
  ...leaseCases,
  ...groupCases,
  ...startCases,
  ...orderCases,
  ...timingCases,
  ...flowCases,
  ...faceCases,
  ...busPublishCases,
  ...busConsumeCases,
  ...replayCases,
  ...livenessCases,
  ...badInputCases,
  ...crashCases,
  ...effectCases,
  ...foreignCases,
  ...twentyCases,
  ...wipedCases,
  ...takeoverCases,
  ...outageCases,
  ...networkCases,
  ...halfOpenCases,
  ...diskCases,
];
