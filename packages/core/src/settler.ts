import type { Delivery, Settlement, SettleOutcome, Subscription } from "./transport.ts";

/**
 * Collects settlements and hands them over in arrays: when the current run of promises is over, or at once when many wait.
 * At most two calls are on their way.
 */
export interface Settler {
  ack(delivery: Delivery): void;
  /** Resolves with the outcome. */
  settle(settlement: Settlement): Promise<SettleOutcome>;
  /** Resolves when all that was given so far has its outcome. */
  flush(): Promise<void>;
  readonly pending: number;
}

export interface SettlerOptions {
  readonly subscription: Subscription;
  /** Told once for each settlement that ends a delivery (all but `extend`). */
  readonly settled: (settlement: Settlement, outcome: SettleOutcome) => void;
}

const atOnce = 512;
const maxCalls = 2;

export function createSettler({ subscription, settled }: SettlerOptions): Settler {
  let waiting: Settlement[] = [];
  let waiters = new Map<Settlement, (outcome: SettleOutcome) => void>();
  let calls = 0;
  let pending = 0;
  let scheduled = false;
  let onFlushed: (() => void)[] = [];

  function push(settlement: Settlement): void {
    waiting.push(settlement);
    pending += 1;
    if (waiting.length >= atOnce) hand();
    else if (!scheduled) {
      scheduled = true;
      process.nextTick(tick);
    }
  }

  function tick(): void {
    scheduled = false;
    hand();
  }

  function hand(): void {
    if (waiting.length === 0 || calls >= maxCalls) return;
    const batch = waiting;
    waiting = [];
    const answers = waiters;
    if (answers.size > 0) waiters = new Map();
    calls += 1;
    subscription.settle(batch).then(
      (outcomes) => answered(batch, answers, outcomes),
      () => answered(batch, answers, []),
    );
  }

  function answered(
    batch: readonly Settlement[],
    answers: ReadonlyMap<Settlement, (outcome: SettleOutcome) => void>,
    outcomes: readonly SettleOutcome[],
  ): void {
    calls -= 1;
    pending -= batch.length;
    for (let index = 0; index < batch.length; index += 1) {
      const settlement = batch[index] as Settlement;
      const outcome = outcomes[index] ?? "unknown";
      if (settlement.kind !== "extend") settled(settlement, outcome);
      if (answers.size > 0) answers.get(settlement)?.(outcome);
    }
    hand();
    if (pending === 0 && onFlushed.length > 0) {
      const flushed = onFlushed;
      onFlushed = [];
      for (const resolve of flushed) resolve();
    }
  }

  return {
    ack(delivery) {
      push({ kind: "ack", delivery });
    },
    settle(settlement) {
      return new Promise((resolve) => {
        waiters.set(settlement, resolve);
        push(settlement);
      });
    },
    flush() {
      if (pending === 0) return Promise.resolve();
      return new Promise((resolve) => {
        onFlushed.push(resolve);
        hand();
      });
    },
    get pending() {
      return pending;
    },
  };
}
