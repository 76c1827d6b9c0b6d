import type { Clock } from "./clock.ts";
import type { Link } from "./consumer-link.ts";
import type { Delays } from "./delays.ts";
import type { WaybillError } from "./errors.ts";
import type { Executor } from "./executor.ts";
import type { Intake } from "./intake.ts";
import type { Item } from "./item.ts";
import type { GroupCounters } from "./metrics.ts";
import type { Observer } from "./observer.ts";
import type { Plan } from "./plan.ts";
import type { Transport } from "./transport.ts";

/** All that one subscription has in hand, from intake to settlement. */
export interface InHand {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly plan: Plan;
  readonly counters: GroupCounters;
  readonly observer: Observer;
  readonly executor: Executor;
  readonly delays: Delays;
  readonly intake: Intake;
  /** To the subscription that was opened last, broken or not. */
  link: Link | undefined;
  /** While the store is asked about them. */
  admitting: readonly Item[];
  unsettled: number;
}

export function visitAll(hand: InHand, see: (item: Item) => void): void {
  for (const item of hand.admitting) see(item);
  hand.executor.visit(see);
  hand.link?.alone.visit(see);
  hand.delays.visit(see);
}

export function done(hand: InHand, item: Item): void {
  hand.executor.done(item);
  hand.link?.alone.ended(item);
}

/** Not ours any more: nothing of it is settled, and what runs is told. */
export function lose(hand: InHand, fits: (item: Item) => boolean, reason: WaybillError): void {
  hand.executor.abort((item) => fits(item) && (item.gone = true), reason);
  hand.counters.lost += withdraw(hand, fits);
}

/** Takes out all that fits and does not run; answers how many. */
export function withdraw(hand: InHand, fits: (item: Item) => boolean): number {
  const taken = [
    ...takeAdmitting(hand, fits),
    ...hand.executor.withdraw(fits),
    ...(hand.link?.alone.withdraw(fits) ?? []),
    ...hand.delays.take(fits).map(({ item }) => item),
  ];
  hand.unsettled -= taken.length;
  for (const item of taken) done(hand, item);
  return taken.length;
}

function takeAdmitting(hand: InHand, fits: (item: Item) => boolean): Item[] {
  const taken = hand.admitting.filter((item) => !item.gone && fits(item));
  for (const item of taken) item.gone = true;
  return taken;
}

/** Gives back what has not started. */
export function releaseAll(hand: InHand): void {
  const { link } = hand;
  if (link === undefined) return;
  for (const { delivery } of hand.executor.withdraw(() => true)) void link.settler.settle({ kind: "release", delivery });
  for (const { item, leftMs } of hand.delays.take(() => true)) {
    link.failures.handBack(item, leftMs);
    done(hand, item);
  }
}
