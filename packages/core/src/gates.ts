import type { SubscribeChoices } from "./bus-types.ts";
import type { Clock } from "./clock.ts";
import type { Gate } from "./executor.ts";

export function gatesOf(_choices: SubscribeChoices, _clock: Clock): readonly Gate[] {
  return [];
}
