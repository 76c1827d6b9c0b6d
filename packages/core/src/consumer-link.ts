import { createAloneQueue, type AloneQueue } from "./alone.ts";
import { createFailures, type Failures } from "./failure.ts";
import { done, lose, visitAll, type InHand } from "./in-hand.ts";
import { holdIntake } from "./intake.ts";
import type { Item } from "./item.ts";
import { keepLeases, type Leases } from "./leases.ts";
import type { Publisher } from "./publisher.ts";
import { createSettler, type Settler } from "./settler.ts";
import type { Settlement, SettleOutcome, Subscription } from "./transport.ts";

/** An opened subscription of the transport, and what ends with it. */
export interface Link {
  readonly subscription: Subscription;
  readonly settler: Settler;
  readonly failures: Failures;
  readonly alone: AloneQueue;
  readonly leases: Leases | undefined;
  /** False once it has broken or was stopped. */
  live: boolean;
}

export function createLink(hand: InHand, subscription: Subscription, publisher: Publisher): Link {
  const { transport, clock, plan, counters, observer, executor, delays } = hand;

  function settled({ kind }: Settlement, outcome: SettleOutcome): void {
    if (!link.live) return;
    hand.unsettled -= 1;
    if (outcome === "lost") counters.lost += 1;
    else if (kind === "release") counters.released += 1;
  }

  function runAgain(item: Item): void {
    if (alone.active) executor.alone(item);
    else executor.again(item);
  }

  const settler = createSettler({ subscription, settled });
  const failures = createFailures({
    clock,
    plan,
    publisher,
    settler,
    capabilities: (topic) => transport.capabilities(topic),
    delay: delays.add,
    runAgain,
    done: (item) => done(hand, item),
    retried(item, delayMs, failure) {
      counters.retried += 1;
      observer.retried(plan, item, delayMs, failure);
    },
    deadLettered(item, failure) {
      counters.deadLettered += 1;
      observer.deadLettered(plan, item, failure);
    },
    dropped(item, failure) {
      counters.dropped += 1;
      observer.dropped(plan, item, failure);
    },
  });
  const alone = createAloneQueue({
    executor,
    holdIntake: (hold) => holdIntake(hand, hold),
    flush: () => settler.flush(),
    note: (item) => failures.noteAlone(item),
  });
  // Of a pattern only each delivery can tell: its topics may be on several transports.
  const leased = plan.topic === undefined || transport.capabilities(plan.topic).lease.level !== "none";
  const leases = leased
    ? keepLeases({
        clock,
        leaseMs: plan.leaseMs,
        subscription,
        visit: (see) => visitAll(hand, see),
        lost: (item, reason) => lose(hand, (other) => other === item, reason),
      })
    : undefined;
  const link: Link = { subscription, settler, failures, alone, leases, live: true };
  return link;
}
