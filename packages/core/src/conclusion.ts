import type { Attempt } from "./attempt.ts";
import type { Link } from "./consumer-link.ts";
import { done, type InHand } from "./in-hand.ts";
import type { Item } from "./item.ts";
import { alreadyApplied, expiredMeanwhile, isPostponed, lostMeanwhile, settledByTransaction } from "./run-outcome.ts";

/** An attempt has ended: counts it, and settles its delivery or has it tried again. */
export function conclude(hand: InHand, item: Item, attempt: Attempt, failed: boolean, thrown: unknown): void {
  const { counters } = hand;
  // What runs was delivered.
  const { settler, failures } = hand.link as Link;
  if (item.gone || thrown === lostMeanwhile) {
    counters.lost += 1;
    hand.unsettled -= 1;
    done(hand, item);
  } else if (!failed && attempt.verdict === undefined) {
    counters.handled += 1;
    settler.ack(item.delivery);
    done(hand, item);
  } else if (thrown === alreadyApplied) {
    counters.duplicates += 1;
    settler.ack(item.delivery);
    done(hand, item);
  } else if (thrown === settledByTransaction) {
    counters.handled += 1;
    hand.unsettled -= 1;
    done(hand, item);
  } else if (thrown === expiredMeanwhile) {
    counters.expired += 1;
    settler.ack(item.delivery);
    done(hand, item);
  } else if (isPostponed(thrown)) {
    hand.observer.postponed(hand.plan, item, thrown.cause);
    item.attempt += 1;
    failures.postponed(item);
  } else {
    counters.failed += 1;
    item.attempt += 1;
    failures.failed(item, attempt.verdict, thrown);
  }
}
