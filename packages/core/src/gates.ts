import type { SubscribeChoices } from "./bus-types.ts";
import { createCircuitBreaker } from "./circuit-breaker.ts";
import type { Clock } from "./clock.ts";
import type { Gate } from "./executor.ts";
import { createRateLimit } from "./rate-limit.ts";

/** One gate of both options, since a start that only one of them allows must cost the other nothing. None if neither is asked for. */
export function gatesOf({ circuitBreaker, rateLimit }: SubscribeChoices, clock: Clock): readonly Gate[] {
  if (circuitBreaker === undefined && rateLimit === undefined) return [];
  const breaker = circuitBreaker === undefined ? undefined : createCircuitBreaker({ ...circuitBreaker, clock });
  const limit = rateLimit === undefined ? undefined : createRateLimit({ ...rateLimit, clock });
  return [
    {
      waitMs() {
        const waitMs = Math.max(breaker?.waitMs() ?? 0, limit?.waitMs() ?? 0);
        if (waitMs > 0) return waitMs;
        breaker?.started();
        limit?.take();
        return 0;
      },
      ended(ok) {
        breaker?.ended(ok);
      },
    },
  ];
}
