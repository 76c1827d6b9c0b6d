import type { BusStatus, SubscriptionStatus } from "./bus-types.ts";
import { describeText } from "./cause.ts";

/** For the probes of a supervisor. */
export interface Health {
  /** False: only a restart helps. */
  readonly live: boolean;
  /** False: it takes no part in the work now, and may do so again by itself. */
  readonly ready: boolean;
  /** Why it is not live or not ready, one line each, fit for a log. */
  readonly reasons: readonly string[];
}

/** Judges `bus.status()`: `live` is false once a subscription has failed for good or has too many abandoned handlers. */
export function healthOf(status: BusStatus): Health {
  const reasons: string[] = [];
  if (status.state !== "started") reasons.push(`the bus is ${status.state}`);
  else if (status.transport !== "connected") reasons.push(`the transport is ${status.transport}`);
  const hopeless = status.subscriptions.filter(isHopeless);
  for (const subscription of status.subscriptions) if (!subscription.healthy) reasons.push(reasonOf(subscription));
  if (!status.healthy && reasons.length === 0) reasons.push("an outbox cannot be sent");
  return { live: hopeless.length === 0 && status.state !== "closed", ready: reasons.length === 0, reasons };
}

function isHopeless({ state, abandoned, healthy }: SubscriptionStatus): boolean {
  return state === "failed" || (state === "running" && !healthy && abandoned > 0);
}

function reasonOf({ topic, group, state, abandoned, error }: SubscriptionStatus): string {
  const handlers = abandoned === 0 ? "" : `, ${abandoned} handlers run on after their time`;
  const cause = error === undefined ? "" : ` (${error.code}: ${error.message})`;
  return describeText(`subscription "${group}" of "${topic}" is ${state}${handlers}${cause}`);
}
