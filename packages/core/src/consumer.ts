import type { Attempt, AttemptHost } from "./attempt.ts";
import type { SubscriptionState, SubscriptionStatus } from "./bus-types.ts";
import type { Clock, Timer } from "./clock.ts";
import { conclude } from "./conclusion.ts";
import { createLink, type Link } from "./consumer-link.ts";
import { settledBefore, withDeadline } from "./deadline.ts";
import { createDelays } from "./delays.ts";
import { WaybillError } from "./errors.ts";
import { createExecutor, type Gate } from "./executor.ts";
import { lose, releaseAll, withdraw, type InHand } from "./in-hand.ts";
import { admit, applyIntake, creditOf, type Applied, type Intake } from "./intake.ts";
import type { Item } from "./item.ts";
import type { GroupCounters } from "./metrics.ts";
import type { Observer } from "./observer.ts";
import type { Plan } from "./plan.ts";
import type { Publisher } from "./publisher.ts";
import { expiredMeanwhile } from "./run-outcome.ts";
import type { Subscription, SubscriptionEvent, Transport } from "./transport.ts";
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
  /** Undefined: nobody keeps that. */
  readonly applied: Applied | undefined;
  /** Told of each subscription of the transport that it opens. */
  readonly opened: (subscription: Subscription) => void;
}

const resubscribeMs = 500;
/** For the last settlements, when the handlers have ended. */
const settleMs = 5_000;
const disposeMs = 5_000;

export function createConsumer(options: ConsumerOptions): Consumer {
  const { transport, clock, turn, plan, counters, observer } = options;
  let state: SubscriptionState = "idle";
  let error: WaybillError | undefined;
  let pumping: Promise<void> = Promise.resolve();
  let restart: Timer | undefined;
  const stopped = new AbortController();
  const intake: Intake = { userPaused: false, overAbandoned: false, held: false, stopping: false };

  const executor = createExecutor({
    clock,
    turn,
    concurrency: plan.concurrency,
    keyed: plan.orderBy !== "none",
    timeoutMs: plan.timeoutMs,
    graceMs: plan.graceMs,
    gates: options.gates,
    host: options.host,
    run,
    finished: (item, attempt, failed, thrown) => conclude(hand, item, attempt, failed, thrown),
    abandonedChanged(count) {
      counters.abandoned = count;
      const over = count > plan.maxAbandoned;
      if (over === intake.overAbandoned) return;
      intake.overAbandoned = over;
      if (over) releaseAll(hand);
      applyIntake(hand);
    },
  });
  const hand: InHand = {
    transport,
    clock,
    plan,
    counters,
    observer,
    executor,
    delays: createDelays(clock),
    intake,
    link: undefined,
    admitting: [],
    unsettled: 0,
  };

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
        const reason = asTransportError(thrown, "subscribing failed");
        if (!reason.retryable || signal.aborted || intake.stopping) {
          error = reason;
          state = intake.stopping ? "stopped" : "failed";
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
      credit: creditOf(hand),
      leaseMs: plan.leaseMs,
      order: plan.orderBy === "key" ? "key" : "none",
      inbox: false,
      native: plan.native,
      signal,
      onEvent,
    });
    if (intake.stopping) {
      await dispose(opened);
      throw new WaybillError("CLOSED", "the subscription was stopped while it started");
    }
    options.opened(opened);
    const link = createLink(hand, opened, options.publisher);
    hand.link = link;
    error = undefined;
    intake.held = false;
    state = intake.userPaused ? "paused" : "running";
    applyIntake(hand);
    pumping = pump(link);
  }

  async function pump(link: Link): Promise<void> {
    try {
      for await (const batch of link.subscription.deliveries()) {
        if (!link.live || intake.stopping) break;
        await admit(hand, link, batch, options.applied);
        if (turn.isOver()) await turn.next();
      }
    } catch (thrown) {
      void onEvent({ kind: "failed", error: asTransportError(thrown, "the subscription broke") });
    }
  }

  function asTransportError(thrown: unknown, what: string): WaybillError {
    return thrown instanceof WaybillError ? thrown : new WaybillError("TRANSPORT", `${transport.name}: ${what}`, { cause: thrown });
  }

  async function dispose(subscription: Subscription): Promise<void> {
    await withDeadline(Promise.resolve(subscription[Symbol.asyncDispose]()), disposeMs, clock);
  }

  async function onEvent(event: SubscriptionEvent): Promise<void> {
    switch (event.kind) {
      case "revoked":
        await giveBack(event.part, event.deadlineMs);
        return;
      case "lost":
        lose(
          hand,
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
    withdraw(hand, fits);
    const leftMs = Math.max(0, deadlineMs - performance.now());
    await withDeadline(
      executor.quiet(fits).then(() => hand.link?.settler.flush()),
      leftMs,
      clock,
    );
    lose(hand, fits, new WaybillError("LEASE_LOST", "the partition was given to another member"));
  }

  async function failedForGood(reason: WaybillError): Promise<void> {
    const { link } = hand;
    if (intake.stopping || link?.live !== true) return;
    error = reason;
    link.live = false;
    link.leases?.close();
    lose(hand, () => true, reason);
    link.alone.close();
    await dispose(link.subscription);
    if (reason.retryable) {
      state = "starting";
      await pause(resubscribeMs);
      if (!intake.stopping) await start(stopped.signal).catch(() => undefined);
    } else state = "failed";
  }

  async function stop(drainOver: AbortSignal): Promise<void> {
    if (state === "stopped") return;
    intake.stopping = true;
    stopped.abort();
    restart?.cancel();
    const { link } = hand;
    if (link?.live !== true) {
      state = "stopped";
      return;
    }
    state = "draining";
    applyIntake(hand);
    for (const { delivery } of link.alone.close()) void link.settler.settle({ kind: "release", delivery });
    releaseAll(hand);
    await settledBefore(executor.quiet(), drainOver);
    if (executor.running > 0) {
      executor.abort(() => true, new WaybillError("ABORTED", "the drain's time is over"));
      await withDeadline(executor.quiet(), Math.min(plan.graceMs, 1_000), clock);
    }
    // What failed while draining waits for a retry that this process will not make.
    releaseAll(hand);
    await withDeadline(link.settler.flush(), settleMs, clock);
    executor.visit((item) => (item.gone = true));
    link.leases?.close();
    executor.close();
    // One whose copy cannot be handed over any more would be tried again for ever.
    hand.delays.close();
    link.live = false;
    await dispose(link.subscription);
    await withDeadline(pumping, 1_000, clock);
    state = "stopped";
  }

  return {
    start,
    pause() {
      intake.userPaused = true;
      if (state === "running") state = "paused";
      applyIntake(hand);
    },
    resume() {
      intake.userPaused = false;
      if (state === "paused") state = "running";
      applyIntake(hand);
    },
    stop,
    status: () => ({
      state,
      topic: plan.topic ?? plan.pattern ?? "",
      group: plan.group,
      running: executor.running,
      unsettled: hand.unsettled,
      abandoned: executor.abandoned,
      healthy: (state === "running" || state === "paused") && !intake.overAbandoned,
      error,
    }),
  };
}
