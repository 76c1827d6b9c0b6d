import { createAloneQueue, type AloneQueue } from "./alone.ts";
import type { Attempt, AttemptHost } from "./attempt.ts";
import type { SubscriptionState, SubscriptionStatus } from "./bus-types.ts";
import type { Clock, Timer } from "./clock.ts";
import { settledBefore, withDeadline } from "./deadline.ts";
import { createDelays } from "./delays.ts";
import { WaybillError } from "./errors.ts";
import { createExecutor, type Executor, type Gate } from "./executor.ts";
import { createFailures, type Failures } from "./failure.ts";
import { isFirst, judge } from "./history.ts";
import { createItem, type Item } from "./item.ts";
import { keepLeases, type Leases } from "./leases.ts";
import type { GroupCounters } from "./metrics.ts";
import type { Observer } from "./observer.ts";
import type { Plan } from "./plan.ts";
import type { Publisher } from "./publisher.ts";
import { alreadyApplied, isPostponed, lostMeanwhile, settledByTransaction } from "./run-outcome.ts";
import { createSettler, type Settler } from "./settler.ts";
import type { Delivery, Settlement, SettleOutcome, Subscription, SubscriptionEvent, Transport } from "./transport.ts";
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

const expiredMeanwhile = Symbol("expired meanwhile");

const resubscribeMs = 500;
/** For the last settlements, when the handlers have ended. */
const settleMs = 5_000;
const disposeMs = 5_000;

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
  let admitting: readonly Item[] = [];
  let pumping: Promise<void> = Promise.resolve();
  let restart: Timer | undefined;
  const delays = createDelays(clock);
  const stopped = new AbortController();

  const executor: Executor = createExecutor({
    clock,
    turn,
    concurrency: plan.concurrency,
    keyed: plan.orderBy !== "none",
    timeoutMs: plan.timeoutMs,
    graceMs: plan.graceMs,
    gates: options.gates,
    host: options.host,
    run,
    finished,
    abandonedChanged(count) {
      counters.abandoned = count;
      const over = count > plan.maxAbandoned;
      if (over === overAbandoned) return;
      overAbandoned = over;
      if (over) releaseAll();
      applyIntake();
    },
  });

  /** It may have waited behind others for longer than it is worth anything. */
  function run(attempt: Attempt): unknown {
    const { delivery, failures } = attempt.item;
    const { expiresAt } = delivery.message;
    if (expiresAt !== undefined && failures === 0 && expiresAt <= clock.now()) throw expiredMeanwhile;
    return options.run(attempt);
  }

  async function start(signal: AbortSignal): Promise<void> {
    state = "starting";
    for (let tries = 1; ; tries += 1) {
      try {
        await open(AbortSignal.any([signal, stopped.signal]));
        return;
      } catch (thrown) {
        const reason =
          thrown instanceof WaybillError
            ? thrown
            : new WaybillError("TRANSPORT", `${transport.name}: subscribing failed`, { cause: thrown });
        if (!reason.retryable || signal.aborted || stopping) {
          error = reason;
          state = stopping ? "stopped" : "failed";
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
      topic: plan.topic,
      pattern: plan.pattern,
      group: plan.group,
      from: plan.from,
      credit: intake(),
      leaseMs: plan.leaseMs,
      order: plan.orderBy === "key" ? "key" : "none",
      inbox: false,
      native: plan.native,
      signal,
      onEvent,
    });
    if (stopping) {
      await opened[Symbol.asyncDispose]();
      throw new WaybillError("CLOSED", "the subscription was stopped");
    }
    if (stopping) {
      await withDeadline(Promise.resolve(opened[Symbol.asyncDispose]()), disposeMs, clock);
      throw new WaybillError("CLOSED", "the subscription was stopped while it started");
    }
    subscription = opened;
    options.opened(opened);
    settler = createSettler({
      subscription: opened,
      settled: (settlement, outcome) => {
        if (opened === subscription) settled(settlement, outcome);
      },
    });
    failures = createFailures({
      clock,
      plan,
      publisher: options.publisher,
      settler,
      capabilities: (topic) => transport.capabilities(topic),
      delay: delays.add,
      runAgain,
      done,
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
    // Of a pattern only each delivery can tell: its topics may be on several transports.
    if (plan.topic === undefined || transport.capabilities(plan.topic).lease.level !== "none") {
      leases = keepLeases({ clock, leaseMs: plan.leaseMs, subscription: opened, visit, lost: loseItem });
    }
    error = undefined;
    held = false;
    state = userPaused ? "paused" : "running";
    applyIntake();
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
      const reason =
        thrown instanceof WaybillError
          ? thrown
          : new WaybillError("TRANSPORT", `${transport.name}: the subscription broke`, { cause: thrown });
      void onEvent({ kind: "failed", error: reason });
    }
  }

  async function admit(batch: readonly Delivery[]): Promise<void> {
    counters.delivered += batch.length;
    unsettled += batch.length;
    if (options.applied === undefined) return sort(batch.map(createItem), undefined);
    // While the store is asked they may be taken away.
    const items = batch.map(createItem);
    admitting = items;
    const repeats = await appliedOf(batch, options.applied);
    admitting = [];
    sort(items, repeats);
  }

  function sort(items: readonly Item[], repeats: readonly boolean[] | undefined): void {
    const fresh: Item[] = [];
    const wallNow = clock.now();
    for (let index = 0; index < items.length; index += 1) {
      const item = items[index] as Item;
      if (item.gone) continue;
      const { delivery } = item;
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
      } else if (isFirst(delivery) || !isSpecial(item)) fresh.push(item);
    }
    // What came with a suspect would be counted if that ends the process.
    if (held && countsDeliveries()) for (const { delivery } of fresh) void settler.settle({ kind: "release", delivery });
    else executor.add(fresh);
  }

  function countsDeliveries(): boolean {
    return transport.capabilities(plan.topic).attempts.level !== "none";
  }

  async function appliedOf(batch: readonly Delivery[], applied: NonNullable<ConsumerOptions["applied"]>): Promise<readonly boolean[]> {
    // Without an answer all are taken for new: the claim in the transaction decides.
    return applied(batch).catch(() => []);
  }

  /** True if it was given up or has to run alone. */
  function isSpecial(item: Item): boolean {
    const standing = judge(item, transport.capabilities(item.delivery.message.topic), plan.retry.attempts);
    if (standing === "poison") {
      failures.giveUp(item, new WaybillError("CRASH_POISON", `the process ended at ${item.crashes} attempts, the last of them alone`));
    } else if (standing === "suspect") alone.add(item);
    return standing !== "ordinary";
  }

  function finished(item: Item, attempt: Attempt, failed: boolean, thrown: unknown): void {
    if (item.gone || thrown === lostMeanwhile) {
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
    } else if (thrown === expiredMeanwhile) {
      counters.expired += 1;
      settler.ack(item.delivery);
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

  function runAgain(item: Item): void {
    if (alone.active) executor.alone(item);
    else executor.again(item);
  }

  function settled({ kind }: Settlement, outcome: SettleOutcome): void {
    unsettled -= 1;
    if (outcome === "lost") counters.lost += 1;
    else if (kind === "release") counters.released += 1;
  }

  function visit(see: (item: Item) => void): void {
    for (const item of admitting) see(item);
    executor.visit(see);
    alone.visit(see);
    delays.visit(see);
  }

  function loseItem(item: Item, reason: WaybillError): void {
    lose((other) => other === item, reason);
  }

  /** Not ours any more: nothing of it is settled, and what runs is told. */
  function lose(fits: (item: Item) => boolean, reason: WaybillError): void {
    executor.abort((item) => fits(item) && (item.gone = true), reason);
    counters.lost += withdraw(fits);
  }

  function takeAdmitting(fits: (item: Item) => boolean): Item[] {
    const taken = admitting.filter((item) => !item.gone && fits(item));
    for (const item of taken) item.gone = true;
    return taken;
  }

  /** Takes out all that fits and does not run; answers how many. */
  function withdraw(fits: (item: Item) => boolean): number {
    const taken = [
      ...takeAdmitting(fits),
      ...executor.withdraw(fits),
      ...alone.withdraw(fits),
      ...delays.take(fits).map(({ item }) => item),
    ];
    unsettled -= taken.length;
    for (const item of taken) done(item);
    return taken.length;
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
    withdraw(fits);
    const leftMs = Math.max(0, deadlineMs - performance.now());
    await withDeadline(
      executor.quiet(fits).then(() => settler.flush()),
      leftMs,
      clock,
    );
    lose(fits, new WaybillError("LEASE_LOST", "the partition was given to another member"));
  }

  async function failedForGood(reason: WaybillError): Promise<void> {
    if (stopping || subscription === undefined) return;
    error = reason;
    const broken = subscription;
    subscription = undefined;
    leases?.close();
    lose(() => true, reason);
    alone.close();
    await withDeadline(Promise.resolve(broken[Symbol.asyncDispose]()), disposeMs, clock);
    if (reason.retryable) {
      state = "starting";
      await pause(resubscribeMs);
      if (!stopping) await start(stopped.signal).catch(() => undefined);
    } else state = "failed";
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
    applyIntake();
    if (hold && countsDeliveries()) releaseAll();
  }

  /** Gives back what has not started. */
  function releaseAll(): void {
    for (const item of executor.withdraw(() => true)) void settler.settle({ kind: "release", delivery: item.delivery });
    for (const { item, leftMs } of delays.take(() => true)) {
      failures.handBack(item, leftMs);
      done(item);
    }
  }

  async function stop(drainOver: AbortSignal): Promise<void> {
    if (state === "stopped") return;
    stopping = true;
    stopped.abort();
    restart?.cancel();
    const from = subscription;
    if (from === undefined) {
      state = "stopped";
      return;
    }
    state = "draining";
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
    // One whose copy cannot be handed over any more would be tried again for ever.
    delays.close();
    subscription = undefined;
    await withDeadline(Promise.resolve(from[Symbol.asyncDispose]()), disposeMs, clock);
    await withDeadline(pumping, 1_000, clock);
    state = "stopped";
  }

  return {
    start,
    pause() {
      userPaused = true;
      if (state === "running") state = "paused";
      applyIntake();
    },
    resume() {
      userPaused = false;
      if (state === "paused") state = "running";
      applyIntake();
    },
    stop,
    status: () => ({
      state,
      topic: plan.topic ?? plan.pattern ?? "",
      group: plan.group,
      running: executor.running,
      unsettled,
      abandoned: executor.abandoned,
      healthy: (state === "running" || state === "paused") && !overAbandoned,
      error,
    }),
  };
}
