import type { Attempt } from "./attempt.ts";
import { alreadyApplied, lostMeanwhile, Postponed, settledByTransaction } from "./run-outcome.ts";
import type { Clock } from "./clock.ts";
import { isWaybillError, WaybillError } from "./errors.ts";
import type { Store } from "./store/store.ts";
import { createTransactionSteps, type Unit } from "./transaction-steps.ts";
import type { Delivery, Message, Subscription, Transport } from "./transport.ts";

/**
 * Exactly-once effect: the handler's writes, the inbox rows and what it publishes commit in one transaction of the store,
 * and the acknowledgement with them where the store is the transport's own. (The transactional inbox and outbox of
 * enterprise messaging; Kafka's read-process-write where there is no store.)
 */
export interface ExactlyOnce {
  /** Runs `work` in one transaction for these deliveries; throws what the consumer expects of `run`. */
  run(attempts: readonly Attempt[], work: () => unknown): Promise<Outcome>;
  /** The user's transaction, of the batch that the attempt is in. */
  tx(attempt: Attempt): unknown;
  /** Sent after the commit. */
  enqueue(attempt: Attempt, message: Message): void;
  readonly applied: ((deliveries: readonly Delivery[]) => Promise<readonly boolean[]>) | undefined;
}

/** How each attempt ended, where `run` did not throw. */
export type Outcome = "acknowledge" | "acknowledged";

export interface ExactlyOnceOptions {
  readonly clock: Clock;
  readonly store: Store | "transport";
  readonly transport: Transport;
  /** Of the inbox rows: the same id on two topics, or in two groups, is two messages. */
  readonly scopeOf: (message: Message) => string;
  readonly subscription: () => Subscription | undefined;
  /** Bodies in an outbox are bytes. */
  readonly toBytes: (message: Message) => Message;
}

export function createExactlyOnce(options: ExactlyOnceOptions): ExactlyOnce {
  const { clock, transport, scopeOf, toBytes } = options;
  const store = options.store === "transport" ? undefined : options.store;
  const steps = createTransactionSteps({ clock, store, transport, toBytes });
  const { joined, bounded } = steps;

  async function run(attempts: readonly Attempt[], work: () => unknown): Promise<Outcome> {
    const lead = attempts[0] as Attempt;
    const unit = await steps.begin(lead.signal).catch(postpone);
    for (const attempt of attempts) attempt.transaction = unit;
    try {
      await work();
    } catch (error) {
      const failure = attempts.some(({ verdict }) => verdict !== undefined) ? undefined : unit.store?.failure;
      await steps.rollback(unit);
      throw failure === undefined ? error : new Postponed(failure);
    }
    if (attempts.some((attempt) => attempt.ended || attempt.verdict !== undefined)) {
      await steps.rollback(unit);
      throw new WaybillError("STALE_ATTEMPT", "the attempt ended before its transaction was committed");
    }
    // From here on the handler's time-out does not reach; the steps are bounded themselves.
    for (const attempt of attempts) attempt.committing = true;
    try {
      await bounded(complete(unit, attempts));
    } catch (error) {
      await steps.rollback(unit);
      throw isWaybillError(error, "TX_UNKNOWN") ? new Postponed(error) : error;
    }
    return commit(unit, attempts);
  }

  async function complete(unit: Unit, attempts: readonly Attempt[]): Promise<void> {
    if (unit.store !== undefined) {
      const { store } = unit;
      // Together: a store on a network answers all of a batch in one trip.
      const claims = attempts.map(({ item: { delivery } }) => store.claim(scopeOf(delivery.message), delivery.message.id));
      const claimed = await Promise.all(claims).catch(postponeStore);
      if (claimed.includes(false)) throw alreadyApplied;
    }
    if (unit.outgoing.length > 0) await publish(unit, attempts);
    if (joined) await acknowledge(unit, attempts);
  }

  async function publish(unit: Unit, attempts: readonly Attempt[]): Promise<void> {
    const { signal } = attempts[0] as Attempt;
    const sent = steps.publish(unit, signal);
    const refused = await (joined ? sent : sent.catch(postponeStore));
    if (refused !== undefined) throw counted(refused) ? refused : new Postponed(refused);
  }

  async function acknowledge(unit: Unit, attempts: readonly Attempt[]): Promise<void> {
    const subscription = options.subscription();
    if (subscription === undefined) throw new Postponed(new WaybillError("LEASE_LOST", "the subscription has ended"));
    const acks = attempts.map(({ item }) => ({ kind: "ack", delivery: item.delivery }) as const);
    const outcomes = await subscription.settle(acks, { tx: unit.transaction });
    // A stalled member that wakes up may not commit what another one handles by now; nor what an unanswered commit has settled.
    if (outcomes.includes("lost")) throw lostMeanwhile;
  }

  async function commit(unit: Unit, attempts: readonly Attempt[]): Promise<Outcome> {
    try {
      await bounded(unit.transaction.commit());
    } catch (error) {
      const failure = isWaybillError(error) ? error : new WaybillError("STORE", "the commit failed", { cause: error });
      if (failure.certainty === "definite") {
        throw handlersOwn(failure) ? failure : new Postponed(failure);
      }
      // Nobody said whether it took effect: the inbox knows.
      if (store === undefined || !(await wasApplied(attempts))) throw new Postponed(failure);
    }
    return joined ? "acknowledged" : "acknowledge";
  }

  async function wasApplied(attempts: readonly Attempt[]): Promise<boolean> {
    const rows = await appliedOf(attempts.map(({ item }) => item.delivery)).catch(() => []);
    return rows.length === attempts.length && rows.every((row) => row);
  }

  async function appliedOf(deliveries: readonly Delivery[]): Promise<readonly boolean[]> {
    if (store === undefined) return [];
    const scopes = new Map<string, number[]>();
    for (let index = 0; index < deliveries.length; index += 1) {
      const scope = scopeOf((deliveries[index] as Delivery).message);
      const indexes = scopes.get(scope);
      if (indexes === undefined) scopes.set(scope, [index]);
      else indexes.push(index);
    }
    const all: boolean[] = Array.from({ length: deliveries.length }, () => false);
    for (const [scope, indexes] of scopes) {
      const rows = await store.applied(
        scope,
        indexes.map((index) => (deliveries[index] as Delivery).message.id),
      );
      indexes.forEach((index, row) => (all[index] = rows[row] === true));
    }
    return all;
  }

  return {
    run,
    tx(attempt) {
      const unit = attempt.transaction as Unit | undefined;
      if (unit?.store === undefined)
        throw new WaybillError("CAPABILITY", "ctx.tx needs exactlyOnce with a store", { remedy: "set exactlyOnce to a store" });
      return unit.store.tx;
    },
    enqueue(attempt, message) {
      // Its body may have been validated for longer than the attempt had time.
      if (attempt.ended) throw new WaybillError("STALE_ATTEMPT", "ctx.publish after the attempt had ended");
      (attempt.transaction as Unit).outgoing.push(message);
    },
    applied: store === undefined ? undefined : appliedOf,
  };
}

function postpone(error: unknown): never {
  throw new Postponed(isWaybillError(error) ? error : new WaybillError("STORE", "no transaction could be begun", { cause: error }));
}

/** The handler's own doing counts as a failure; anything else of the store does not. */
function postponeStore(error: unknown): never {
  if (isWaybillError(error) && handlersOwn(error)) throw error;
  throw new Postponed(isWaybillError(error) ? error : new WaybillError("STORE", "the store failed", { cause: error }));
}

/** A lock that it held for too long, and what the store refuses for good: a constraint that its writes break at the commit. */
function handlersOwn({ code, retryable }: WaybillError): boolean {
  return code === "TX_TOO_LONG" || (code === "STORE" && !retryable);
}

/** What no waiting mends is the handler's own doing, and so is a lock that it held for too long. */
function counted({ code, retryable }: WaybillError): boolean {
  return !retryable || code === "TX_TOO_LONG";
}

/** Tells the consumer that the acknowledgement is in the transaction. */
export function concludeSingle(outcome: Outcome): void {
  if (outcome === "acknowledged") throw settledByTransaction;
}
