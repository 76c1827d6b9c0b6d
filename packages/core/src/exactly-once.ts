import type { Attempt } from "./attempt.ts";
import { alreadyApplied, lostMeanwhile, Postponed, settledByTransaction } from "./run-outcome.ts";
import type { Clock } from "./clock.ts";
import { withDeadline } from "./deadline.ts";
import { isWaybillError, WaybillError } from "./errors.ts";
import type { Store, StoreTransaction } from "./store/store.ts";
import type { Delivery, Message, Subscription, Transaction, Transport } from "./transport.ts";

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

interface Unit {
  readonly transaction: Transaction;
  readonly store: StoreTransaction | undefined;
  readonly outgoing: Message[];
}

/** For the last steps of a transaction. */
const commitMs = 30_000;

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
  const { transport, scopeOf } = options;
  const store = options.store === "transport" ? undefined : options.store;
  const joined = store === undefined || store.joins(transport);

  async function begin(signal: AbortSignal): Promise<Unit> {
    if (store !== undefined) {
      const transaction = store.begin({ signal });
      return { transaction, store: transaction, outgoing: [] };
    }
    const begun = await transport.begin?.({ signal });
    if (begun === undefined) throw new WaybillError("CAPABILITY", `${transport.name} has no transactions`);
    return { transaction: begun, store: undefined, outgoing: [] };
  }

  async function run(attempts: readonly Attempt[], work: () => unknown): Promise<Outcome> {
    const lead = attempts[0] as Attempt;
    const unit = await begin(lead.signal).catch(postpone);
    for (const attempt of attempts) attempt.transaction = unit;
    try {
      await work();
    } catch (error) {
      const failure = attempts.some(({ verdict }) => verdict !== undefined) ? undefined : unit.store?.failure;
      await unit.transaction.rollback();
      throw failure === undefined ? error : new Postponed(failure);
    }
    if (attempts.some((attempt) => attempt.ended || attempt.verdict !== undefined)) {
      await unit.transaction.rollback();
      throw new WaybillError("STALE_ATTEMPT", "the attempt ended before its transaction was committed");
    }
    for (const attempt of attempts) attempt.committing = true;
    try {
      await bounded(complete(unit, attempts));
    } catch (error) {
      await unit.transaction.rollback();
      throw isWaybillError(error, "TX_UNKNOWN") ? new Postponed(error) : error;
    }
    return commit(unit, attempts);
  }

  /** The handler's time-out does not reach here. */
  async function bounded(work: Promise<void>): Promise<void> {
    const inTime = await withDeadline(work, commitMs, options.clock);
    if (!inTime) throw new WaybillError("TX_UNKNOWN", `${store?.name ?? transport.name} did not answer within ${commitMs} ms`);
    await work;
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
    if (!joined && unit.store !== undefined) {
      await unit.store.enqueue(unit.outgoing.map(options.toBytes)).catch(postponeStore);
      return;
    }
    const { signal } = attempts[0] as Attempt;
    const outcomes = await transport.publish(unit.outgoing, { signal, tx: unit.transaction });
    for (const outcome of outcomes) if (!outcome.ok) throw counted(outcome.error) ? outcome.error : new Postponed(outcome.error);
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
