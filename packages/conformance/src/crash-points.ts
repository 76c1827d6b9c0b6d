import { deadLetterGroup } from "@waybill/core";
import type { HandleMiddleware, Store, StoreTransaction, Subscription, Transport } from "@waybill/core";
import { around, innermost, onCommit, wrapped } from "./around.ts";

/** Where a process may die; the meanings are those of RELIABILITY.md. */
export const crashPoints = {
  CP1: "before a publish is written",
  CP2: "a publish is written, and not confirmed",
  CP3: "a confirm has come, and its caller does not know",
  CP4: "delivered, and no handler has begun",
  CP5: "in the middle of a handler",
  CP6: "the effect is done, and the acknowledgement not sent",
  CP7: "the acknowledgement is sent, and not confirmed",
  CP8: "the database has committed, and the acknowledgement is not sent",
  CP9: "the outbox has published, and its row is not marked",
  CP10: "the dead letter is published, and its source not acknowledged",
} as const;
export type CrashPoint = keyof typeof crashPoints;

export interface CrashPlan {
  readonly point: CrashPoint;
  /** Dies at the n-th time that it gets there. */
  readonly after: number;
}

/** Ends the process, or does as if: nothing that awaits it goes on. */
export type Die = () => Promise<never>;

export interface CrashSite {
  transport(inner: Transport): Transport;
  store(inner: Store): Store;
  readonly middleware: HandleMiddleware;
  readonly die: Die;
}

/**
 * The same transport, store and middleware, with one place where the process dies. Where that is only played, what the dead
 * one had begun in the store is rolled back, as a database does for a client that is gone, and nothing of it goes on.
 */
export function crashSite(plan: CrashPlan | undefined, end: Die): CrashSite {
  let times = 0;
  let dead = false;
  const open = new Set<StoreTransaction>();
  const at = (point: CrashPoint): boolean => plan?.point === point && (times += 1) === plan.after;
  const die: Die = () => {
    dead = true;
    const gone = end();
    for (const transaction of open) void transaction.rollback();
    return gone;
  };
  const alive = async <T>(call: () => Promise<T>): Promise<T> => {
    if (dead) await never;
    const answer = await call();
    if (dead) await never;
    return answer;
  };
  return {
    die,
    transport: (inner) => (plan === undefined ? inner : dying(inner, at, die, plan.point)),
    store: (inner) => ({
      name: inner.name,
      outbox: {
        take: (options) => alive(() => inner.outbox.take(options)),
        async done(owner, rows) {
          if (at("CP9")) await die();
          return alive(() => inner.outbox.done(owner, rows));
        },
        release: (owner, rows) => alive(() => inner.outbox.release(owner, rows)),
        backlog: () => inner.outbox.backlog(),
        watch: (wake) => inner.outbox.watch(wake),
      },
      open: (options) => inner.open(options),
      close: () => inner.close(),
      joins: (transport) => inner.joins(innermost(transport)),
      begin(options) {
        const transaction = inner.begin(options);
        open.add(transaction);
        const rollback = transaction.rollback.bind(transaction);
        Object.defineProperty(transaction, "rollback", {
          value: async () => {
            open.delete(transaction);
            await rollback();
          },
        });
        return onCommit(transaction, async (commit) => {
          if (dead) await never;
          await commit();
          open.delete(transaction);
          if (at("CP8")) await die();
          if (dead) await never;
        });
      },
      applied: (group, ids) => alive(() => inner.applied(group, ids)),
      forget: (olderThanMs) => inner.forget(olderThanMs),
      [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
    }),
    async middleware(call, next) {
      if (at("CP5")) {
        await soon();
        await die();
      }
      if (dead) await never;
      return next(call);
    },
  };
}

const never = new Promise<never>(() => undefined);

function dying(inner: Transport, at: (point: CrashPoint) => boolean, die: Die, point: CrashPoint): Transport {
  return around(inner, {
    // The core moves a dead letter by a copy where the transport has no step of its own: the only way to die in between.
    ...(point === "CP10" ? { capabilities: (topic) => ({ ...inner.capabilities(topic), deadLetter: { level: "none" } }) } : {}),
    async publish(messages, options) {
      if (at("CP1")) await die();
      const outcomes = inner.publish(messages, options);
      if (at("CP2")) {
        await soon();
        await die();
      }
      const known = await outcomes;
      if (at("CP3")) await die();
      if (messages.some((message) => message.group === deadLetterGroup) && at("CP10")) await die();
      return known;
    },
    async subscribe(request) {
      const subscription = await inner.subscribe(request);
      return { ...wrapped(subscription), ...dyingSubscription(subscription, at, die) };
    },
  });
}

function dyingSubscription(subscription: Subscription, at: (point: CrashPoint) => boolean, die: Die): Partial<Subscription> {
  return {
    async *deliveries() {
      for await (const batch of subscription.deliveries()) {
        if (at("CP4")) await die();
        yield batch;
      }
    },
    async settle(settlements, options) {
      const acks = settlements.some((settlement) => settlement.kind === "ack");
      if (acks && at("CP6")) await die();
      const outcomes = subscription.settle(settlements, options);
      if (acks && at("CP7")) {
        await soon();
        await die();
      }
      return outcomes;
    },
  };
}

/** Long enough for what was begun to be written now and then, short enough for it not to be always. */
function soon(): Promise<void> {
  const until = performance.now() + Math.random() * 3;
  return new Promise((resolve) => {
    const look = (): void => {
      if (performance.now() >= until) resolve();
      else setImmediate(look);
    };
    look();
  });
}
