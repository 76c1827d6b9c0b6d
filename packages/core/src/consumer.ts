import { createAloneQueue, type AloneQueue } from "./alone.ts";
import type { Attempt, AttemptHost } from "./attempt.ts";
import type { SubscriptionState, SubscriptionStatus } from "./bus-types.ts";
import type { Clock, Timer } from "./clock.ts";
import { WaybillError } from "./errors.ts";
import { createExecutor, type Executor, type Gate } from "./executor.ts";
import { createFailures, type Failures } from "./failure.ts";
import { createItem, noteHeader, readNote, type Item } from "./item.ts";
import { keepLeases, type Leases } from "./leases.ts";
import type { GroupCounters } from "./metrics.ts";
import type { Observer } from "./observer.ts";
import type { Plan } from "./plan.ts";
import type { Publisher } from "./publisher.ts";
import { createSettler, type Settler } from "./settler.ts";
import { settledBefore, withDeadline } from "./deadline.ts";
import type { Delivery, Subscription, SubscriptionEvent, Transport } from "./transport.ts";
import type { Turn } from "./turn.ts";

/** One subscription from start to stop: intake, hand-over to the executor, settlement, and what the transport takes away. */
export interface Consumer {
  /** Resolves when messages arrive; rejects when it can never work. */
  start(signal: AbortSignal): Promise<void>;
  pause(): void;
  resume(): void;
  /** Lets handlers finish until `drainOver` fires, then ends them. */
  stop(drainOver: AbortSignal): Promise<void>;
  status(): SubscriptionStatus;
}

export interface ConsumerOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly turn: Turn;
  readonly plan: Plan;
  readonly publisher: Publisher;
  readonly counters: GroupCounters;
  readonly observer: Observer;
  readonly gates: readonly Gate[];
  readonly host: AttemptHost;
  /** Decodes, then the middleware and the handler; with `exactlyOnce` the transaction around them. */
  readonly run: (attempt: Attempt) => unknown;
  /** Which of these are repeats that this group has applied; undefined: nobody keeps that. */
  readonly applied: ((deliveries: readonly Delivery[]) => Promise<readonly boolean[]>) | undefined;
  /** Told of each subscription of the transport that it opens. */
  readonly opened: (subscription: Subscription) => void;
}

/** Thrown by `run` when the store or the transport failed and the handler did not: the attempt is not counted. */
export class Postponed {
  readonly cause: WaybillError;
  constructor(cause: WaybillError) {
    this.cause = cause;
  }
}
/** Never throws: what a handler throws may be a Proxy that does when it is asked for its class. */
export function isPostponed(thrown: unknown): thrown is Postponed {
  try {
    return thrown instanceof Postponed;
  } catch {
    return false;
  }
}
/** Thrown by `run` when the delivery was found to be a repeat, or is settled already by its transaction. */
export const alreadyApplied: unique symbol = Symbol("already applied");
export const settledByTransaction: unique symbol = Symbol("settled by transaction");

const resubscribeMs = 500;
/** For the last settlements, when the handlers have ended. */
const settleMs = 5_000;

export function createConsumer(options: ConsumerOptions): Consumer {
  const { transport, clock, turn, plan, counters, observer } = options;
  let state: SubscriptionState = "idle";
  let error: WaybillError | undefined;
  let subscription: Subscription | undefined;
  let settler: Settler;
  let leases: Leases | undefined;
  let alone: AloneQueue;
  let failures: Failures;
  let unsettled = 0;
  let stopping = false;
  let userPaused = false;
  let overAbandoned = false;
  let held = false;
  let pumping: Promise<void> = Promise.resolve();
  let restart: Timer | undefined;
  const delayed = new Map<Item, { readonly timer: Timer; readonly dueAt: number }>();
  const stopped = new AbortController();

  const executor: Executor = createExecutor({
    clock, turn, concurrency: plan.concurrency, keyed: plan.orderBy !== "none", timeoutMs: plan.timeoutMs, graceMs: plan.graceMs,
    gates: options.gates, host: options.host, run: options.run, finished,
    abandonedChanged(count) {
      counters.abandoned = count;
      const over = count > plan.maxAbandoned;
      if (over === overAbandoned) return;
      overAbandoned = over;
      if (over) releaseAll();
      applyIntake();
    },
  });

  function setState(next: SubscriptionState): void {
    state = next;
  }

  async function start(signal: AbortSignal): Promise<void> {
    setState("starting");
    for (let tries = 1; ; tries += 1) {
      try {
        await open(AbortSignal.any([signal, stopped.signal]));
        return;
      } catch (thrown) {
        const reason = thrown instanceof WaybillError ? thrown : new WaybillError("TRANSPORT", `${transport.name}: subscribing failed`, { cause: thrown });
        if (!reason.retryable || signal.aborted || stopping) {
          error = reason;
          setState("failed");
          throw reason;
        }
        error = reason;
          await pause(Math.min(resubscribeMs * tries, 10_000));
      }
    }
  }

  function pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      restart = clock.after(delayMs, resolve);
      stopped.signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  async function open(signal: AbortSignal): Promise<void> {
    const opened = await transport.subscribe({
      topic: plan.topic, pattern: plan.pattern, group: plan.group, from: plan.from, credit: intake(), leaseMs: plan.leaseMs,
      order: plan.orderBy === "key" ? "key" : "none", inbox: false, native: plan.native, signal, onEvent,
    });
    subscription = opened;
    options.opened(opened);
    settler = createSettler({ subscription: opened, settled });
    failures = createFailures({
      clock, plan, publisher: options.publisher, settler, capabilities: (topic) => transport.capabilities(topic),
      delay, runAgain, done,
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
    alone = createAloneQueue({ executor, holdIntake, flush: () => settler.flush(), note: (item) => failures.noteAlone(item) });
    if (transport.capabilities(plan.topic).lease.level !== "none") {
      leases = keepLeases({ clock, leaseMs: plan.leaseMs, subscription: opened, visit, lost: loseItem });
    }
    error = undefined;
    setState(userPaused ? "paused" : "running");
    pumping = pump(opened);
  }

  async function pump(from: Subscription): Promise<void> {
    try {
      for await (const batch of from.deliveries()) {
        if (from !== subscription || stopping) break;
        await admit(batch);
        if (turn.isOver()) await turn.next();
      }
    } catch (thrown) {
      const reason = thrown instanceof WaybillError ? thrown : new WaybillError("TRANSPORT", `${transport.name}: the subscription broke`, { cause: thrown });
      void onEvent({ kind: "failed", error: reason });
    }
  }

  async function admit(batch: readonly Delivery[]): Promise<void> {
    counters.delivered += batch.length;
    unsettled += batch.length;
    const repeats = options.applied === undefined ? undefined : await appliedOf(batch, options.applied);
    const items: Item[] = [];
    const wallNow = clock.now();
    for (let index = 0; index < batch.length; index += 1) {
      const delivery = batch[index] as Delivery;
      if (stopping || (overAbandoned && delivery.leaseMs !== undefined)) {
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
      } else {
        const item = createItem(delivery);
        if (isFirst(delivery) || !remember(item)) items.push(item);
      }
    }
    executor.add(items);
  }

  async function appliedOf(batch: readonly Delivery[], applied: NonNullable<ConsumerOptions["applied"]>): Promise<readonly boolean[]> {
    // Without an answer all are taken for new: the claim in the transaction decides.
    return applied(batch).catch(() => []);
  }

  /** Fills in what is known of earlier attempts. True if it was given up or has to run alone. */
  function remember(item: Item): boolean {
    const { delivery } = item;
    const can = transport.capabilities(delivery.message.topic);
    const note = readNote(can.note.level === "none" ? delivery.message.headers[noteHeader] : delivery.note);
    if (note !== undefined) {
      item.failures = note.failures;
      item.firstFailureAt = note.firstFailureAt;
      item.alone = note.alone;
    }
    item.crashes = delivery.attempt === undefined ? item.alone : Math.max(0, delivery.attempt - 1 - item.failures);
    item.attempt = item.failures + item.crashes + 1;
    const canNote = can.note.level !== "none" || can.publishToGroup.level !== "none";
    if (isPoison(item, plan.retry.attempts, canNote)) {
      failures.giveUp(item, new WaybillError("CRASH_POISON", `the process ended at ${item.crashes} attempts, the last of them alone`));
      return true;
    }
    if (!isSuspect(item, plan.retry.attempts)) return false;
    alone.add(item);
    return true;
  }

  function finished(item: Item, attempt: Attempt, failed: boolean, thrown: unknown): void {
    if (item.gone) {
      counters.lost += 1;
      unsettled -= 1;
      done(item);
    } else if (!failed && attempt.verdict === undefined) {
      counters.handled += 1;
      settler.ack(item.delivery);
      done(item);
    } else if (thrown === alreadyApplied || thrown === settledByTransaction) {
      if (thrown === alreadyApplied) {
        counters.duplicates += 1;
        settler.ack(item.delivery);
      } else {
        counters.handled += 1;
        unsettled -= 1;
      }
      done(item);
    } else if (isPostponed(thrown)) {
      observer.postponed(plan, item, thrown.cause);
      item.attempt += 1;
      failures.postponed(item);
    } else {
      counters.failed += 1;
      item.attempt += 1;
      failures.failed(item, attempt.verdict, thrown);
    }
  }

  function done(item: Item): void {
    executor.done(item);
    alone.ended(item);
  }

  function delay(item: Item, delayMs: number, run: () => void): void {
    const timer = clock.after(delayMs, () => {
      delayed.delete(item);
      if (!item.gone) run();
    });
    delayed.set(item, { timer, dueAt: clock.monotonic() + delayMs });
  }

  function runAgain(item: Item): void {
    if (alone.active) executor.alone(item);
    else executor.again(item);
  }

  function settled(_settlement: unknown, outcome: string): void {
    unsettled -= 1;
    if (outcome === "lost") counters.lost += 1;
  }

  function visit(see: (item: Item) => void): void {
    executor.visit(see);
    alone.visit(see);
    for (const item of delayed.keys()) see(item);
  }

  function loseItem(item: Item, reason: WaybillError): void {
    lose((other) => other === item, reason);
  }

  /** Not ours any more: nothing of it is settled, and what runs is told. */
  function lose(fits: (item: Item) => boolean, reason: WaybillError): void {
    executor.abort((item) => fits(item) && (item.gone = true), reason);
    const taken = [...executor.withdraw(fits), ...alone.withdraw(fits), ...takeDelayed(fits)];
    counters.lost += taken.length;
    unsettled -= taken.length;
    for (const item of taken) done(item);
  }

  function takeDelayed(fits: (item: Item) => boolean): Item[] {
    const taken: Item[] = [];
    for (const [item, { timer }] of delayed) {
      if (!fits(item)) continue;
      timer.cancel();
      delayed.delete(item);
      item.gone = true;
      taken.push(item);
    }
    return taken;
  }

  async function onEvent(event: SubscriptionEvent): Promise<void> {
    switch (event.kind) {
      case "revoked":
        await giveBack(event.part, event.deadlineMs);
        return;
      case "lost":
        lose(
          ({ delivery }) => delivery.part === event.part && delivery.generation <= event.generation,
          new WaybillError("LEASE_LOST", "another member has taken over"),
        );
        return;
      case "gap":
        counters.gaps += 1;
        if (event.count !== undefined) counters.dropped += event.count;
        observer.gap(plan, event.count, event.reason);
        return;
      case "failed":
        await failedForGood(event.error);
    }
  }

  async function giveBack(part: string, deadlineMs: number): Promise<void> {
    const fits = (item: Item): boolean => item.delivery.part === part;
    const taken = [...executor.withdraw(fits), ...alone.withdraw(fits), ...takeDelayed(fits)];
    unsettled -= taken.length;
    for (const item of taken) done(item);
    const leftMs = Math.max(0, deadlineMs - performance.now());
    await withDeadline(executor.quiet(fits).then(() => settler.flush()), leftMs, clock);
    lose(fits, new WaybillError("LEASE_LOST", "the partition was given to another member"));
  }

  async function failedForGood(reason: WaybillError): Promise<void> {
    if (stopping || subscription === undefined) return;
    error = reason;
    const broken = subscription;
    subscription = undefined;
    leases?.close();
    lose(() => true, reason);
    unsettled = 0;
    await withDeadline(Promise.resolve(broken[Symbol.asyncDispose]()), 5_000, clock);
    if (reason.retryable) {
      setState("starting");
      await pause(resubscribeMs);
      if (!stopping) await start(stopped.signal).catch(() => undefined);
    } else setState("failed");
  }

  function intake(): { readonly messages: number; readonly bytes: number } {
    return userPaused || overAbandoned || held || stopping ? { messages: 0, bytes: 0 } : plan.credit;
  }

  function applyIntake(): void {
    subscription?.credit(intake());
    executor.pause(userPaused || overAbandoned || stopping || alone.active);
  }

  async function holdIntake(hold: boolean): Promise<void> {
    held = hold;
    subscription?.credit(intake());
    if (hold && transport.capabilities(plan.topic).attempts.level !== "none") releaseAll();
  }

  /** Gives back what has not started. */
  function releaseAll(): void {
    const now = clock.monotonic();
    for (const item of executor.withdraw(() => true)) void settler.settle({ kind: "release", delivery: item.delivery });
    for (const [item, { dueAt }] of [...delayed]) {
      takeDelayed((other) => other === item);
      failures.handBack(item, Math.max(0, dueAt - now));
      done(item);
    }
  }

  async function stop(drainOver: AbortSignal): Promise<void> {
    if (state === "stopped") return;
    stopping = true;
    stopped.abort();
    restart?.cancel();
    const from = subscription;
    if (from === undefined) return setState("stopped");
    setState("draining");
    applyIntake();
    for (const item of alone.close()) void settler.settle({ kind: "release", delivery: item.delivery });
    releaseAll();
    await settledBefore(executor.quiet(), drainOver);
    if (executor.running > 0) {
      executor.abort(() => true, new WaybillError("ABORTED", "the drain's time is over"));
      await withDeadline(executor.quiet(), Math.min(plan.graceMs, 1_000), clock);
    }
    // What failed while draining waits for a retry that this process will not make.
    releaseAll();
    await withDeadline(settler.flush(), settleMs, clock);
    executor.visit((item) => (item.gone = true));
    leases?.close();
    executor.close();
    subscription = undefined;
    await withDeadline(Promise.resolve(from[Symbol.asyncDispose]()), 5_000, clock);
    await withDeadline(pumping, 1_000, clock);
    setState("stopped");
  }

  return {
    start,
    pause() {
      userPaused = true;
      if (state === "running") setState("paused");
      applyIntake();
    },
    resume() {
      userPaused = false;
      if (state === "paused") setState("running");
      applyIntake();
    },
    stop,
    status: () => ({
      state, topic: plan.topic ?? plan.pattern ?? "", group: plan.group, running: executor.running, unsettled,
      abandoned: executor.abandoned, healthy: (state === "running" || state === "paused") && !overAbandoned, error,
    }),
  };
}

/**
 * Where the transport counts, one crash while alone is enough; where it does not, the notes are the count. Where nothing can be
 * noted, the count alone has to tell that it was alone already.
 */
function isPoison({ delivery, alone, crashes }: Item, attempts: number, canNote: boolean): boolean {
  if (delivery.attempt === undefined) return delivery.takenOver && alone >= attempts;
  if (!canNote) return crashes > 0 && delivery.attempt > attempts + 1;
  return alone > 0 && delivery.attempt > alone;
}

function isSuspect({ delivery, alone, crashes }: Item, attempts: number): boolean {
  if (delivery.attempt === undefined) return delivery.takenOver;
  return alone > 0 || (crashes > 0 && delivery.attempt > attempts);
}

function isFirst(delivery: Delivery): boolean {
  return (delivery.attempt === 1 || delivery.attempt === undefined) && delivery.note === undefined && !delivery.takenOver && !(noteHeader in delivery.message.headers);
}
