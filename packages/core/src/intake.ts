import { WaybillError } from "./errors.ts";
import type { Link } from "./consumer-link.ts";
import { isFirst, judge } from "./history.ts";
import { releaseAll, type InHand } from "./in-hand.ts";
import { createItem, type Item } from "./item.ts";
import type { Credit, Delivery } from "./transport.ts";

/** What keeps deliveries out and handlers from starting. */
export interface Intake {
  userPaused: boolean;
  /** Too many handlers run on after their time. */
  overAbandoned: boolean;
  /** A message that may have ended its process is handled alone. */
  held: boolean;
  stopping: boolean;
}

/** Which of these are repeats that the group has applied. */
export type Applied = (deliveries: readonly Delivery[]) => Promise<readonly boolean[]>;

const noCredit: Credit = { messages: 0, bytes: 0 };

export function creditOf({ intake, plan }: InHand): Credit {
  return intake.userPaused || intake.overAbandoned || intake.held || intake.stopping ? noCredit : plan.credit;
}

/** To be called when anything of `intake` has changed. */
export function applyIntake(hand: InHand): void {
  const { intake, link } = hand;
  if (link?.live === true) link.subscription.credit(creditOf(hand));
  hand.executor.pause(intake.userPaused || intake.overAbandoned || intake.stopping || link?.alone.active === true);
}

export async function holdIntake(hand: InHand, hold: boolean): Promise<void> {
  hand.intake.held = hold;
  applyIntake(hand);
  if (hold && countsDeliveries(hand)) releaseAll(hand);
}

/** Takes in what a fetch has brought: to the executor, unless there is nothing to be handled. */
export async function admit(hand: InHand, link: Link, batch: readonly Delivery[], applied: Applied | undefined): Promise<void> {
  hand.counters.delivered += batch.length;
  hand.unsettled += batch.length;
  const items = batch.map(createItem);
  if (applied === undefined) return sort(hand, link, items, undefined);
  // While the store is asked they may be taken away.
  hand.admitting = items;
  // Without an answer all are taken for new: the claim in the transaction decides.
  const repeats = await applied(batch).catch(() => []);
  // A link that was opened meanwhile may be asking about its own.
  if (hand.admitting === items) hand.admitting = [];
  sort(hand, link, items, repeats);
}

function sort(hand: InHand, link: Link, items: readonly Item[], repeats: readonly boolean[] | undefined): void {
  const { counters, intake } = hand;
  const { settler } = link;
  const fresh: Item[] = [];
  const wallNow = hand.clock.now();
  for (let index = 0; index < items.length; index += 1) {
    const item = items[index] as Item;
    if (item.gone) continue;
    const { delivery } = item;
    if (intake.stopping || (intake.overAbandoned && delivery.leaseMs !== undefined)) {
      void settler.settle({ kind: "release", delivery });
      continue;
    }
    const { expiresAt } = delivery.message;
    if (repeats?.[index] === true) {
      counters.duplicates += 1;
      settler.ack(delivery);
    } else if (expiresAt !== undefined && expiresAt <= wallNow) {
      counters.expired += 1;
      settler.ack(delivery);
    } else if (isFirst(delivery) || !isSpecial(hand, link, item)) fresh.push(item);
  }
  // What came with a suspect would be counted if that ends the process.
  if (intake.held && countsDeliveries(hand)) for (const { delivery } of fresh) void settler.settle({ kind: "release", delivery });
  else hand.executor.add(fresh);
}

/** True if it was given up or has to run alone. */
function isSpecial({ transport, plan }: InHand, { failures, alone }: Link, item: Item): boolean {
  const standing = judge(item, transport.capabilities(item.delivery.message.topic), plan.retry.attempts);
  if (standing === "poison") {
    failures.giveUp(item, new WaybillError("CRASH_POISON", `the process ended at ${item.crashes} attempts, the last of them alone`));
  } else if (standing === "suspect") alone.add(item);
  return standing !== "ordinary";
}

function countsDeliveries({ transport, plan }: InHand): boolean {
  return transport.capabilities(plan.topic).attempts.level !== "none";
}
