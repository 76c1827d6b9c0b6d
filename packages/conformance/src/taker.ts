import assert from "node:assert/strict";
import type {
  Delivery,
  Settlement,
  SettleOutcome,
  SubscribeRequest,
  Subscription,
  SubscriptionEvent,
  Transaction,
  Transport,
} from "@waybill/core";
import type { Rig } from "./rig.ts";

/** A subscription whose deliveries are kept as they come. */
export interface Taker {
  readonly subscription: Subscription;
  readonly events: readonly SubscriptionEvent[];
  /** All so far, in order. */
  readonly got: readonly Delivery[];
  /** When each came, `performance.now()`. */
  readonly at: readonly number[];
  /** With option `ack`: what was acknowledged, and not found lost. */
  readonly acked: readonly Delivery[];
  /** Whether the iteration has ended, and what it threw. */
  readonly ended: () => boolean;
  readonly failure: () => unknown;
  /** How many `take` has given. */
  readonly taken: () => number;
  /** The next `count` that no earlier call has given. */
  take(count: number, waitMs?: number): Promise<readonly Delivery[]>;
  one(waitMs?: number): Promise<Delivery>;
  settle(settlements: readonly Settlement[], tx?: Transaction): Promise<readonly SettleOutcome[]>;
  ack(...deliveries: readonly Delivery[]): Promise<readonly SettleOutcome[]>;
  close(): Promise<void>;
}

export type Asked = Partial<SubscribeRequest>;

/** A request with every field set. A group is named unless `group` is given as undefined. */
export function asking(rig: Rig, fields: Asked): SubscribeRequest {
  return {
    topic: fields.topic,
    pattern: fields.pattern,
    group: fields.group,
    from: fields.from ?? "latest",
    credit: fields.credit ?? { messages: 1_000, bytes: 64 << 20 },
    leaseMs: fields.leaseMs ?? 30_000,
    order: fields.order ?? "none",
    inbox: fields.inbox ?? false,
    native: fields.native,
    signal: fields.signal ?? AbortSignal.timeout(rig.waitMs),
    onEvent: fields.onEvent ?? (() => undefined),
  };
}

export interface TakerOptions {
  /** Acknowledges each batch as it comes. */
  readonly ack?: boolean;
  /** Awaited after each batch, before the next one is asked for. */
  readonly gate?: () => Promise<void>;
  /** Told of each delivery, as it comes. */
  readonly onDelivery?: (delivery: Delivery) => void;
}

export async function subscribe(rig: Rig, transport: Transport, fields: Asked, options: TakerOptions = {}): Promise<Taker> {
  const events: SubscriptionEvent[] = [];
  const request = asking(rig, fields);
  const subscription = await rig.within(
    "subscribe",
    transport.subscribe({
      ...request,
      onEvent(event) {
        events.push(event);
        return fields.onEvent?.(event);
      },
    }),
  );
  const got: Delivery[] = [];
  const at: number[] = [];
  const acked: Delivery[] = [];
  let taken = 0;
  let ended = false;
  let failure: unknown;
  const pump = (async () => {
    for await (const batch of subscription.deliveries()) {
      if (batch.length === 0) throw new Error("deliveries() gave an empty array");
      const now = performance.now();
      for (const delivery of batch) {
        got.push(delivery);
        at.push(now);
        options.onDelivery?.(delivery);
      }
      if (options.gate !== undefined) await options.gate();
      if (options.ack !== true) continue;
      const outcomes = await subscription.settle(batch.map((delivery) => ({ kind: "ack", delivery })));
      for (const [index, delivery] of batch.entries()) if (outcomes[index] !== "lost") acked.push(delivery);
    }
  })().then(
    () => void (ended = true),
    (error: unknown) => {
      ended = true;
      failure = error;
    },
  );
  const taker: Taker = {
    subscription,
    events,
    got,
    at,
    acked,
    taken: () => taken,
    ended: () => ended,
    failure: () => failure,
    async take(count, waitMs = rig.waitMs) {
      await rig
        .until(
          `${count} deliveries of ${fields.topic ?? fields.pattern ?? "the inbox"}`,
          () => got.length - taken >= count || failure !== undefined,
          waitMs,
        )
        .catch((error: Error) => {
          throw new Error(`${error.message}; got ${got.length - taken}`);
        });
      if (failure !== undefined) throw failure;
      taken += count;
      return got.slice(taken - count, taken);
    },
    async one(waitMs) {
      const [delivery] = await taker.take(1, waitMs);
      assert(delivery !== undefined);
      return delivery;
    },
    async settle(settlements, tx) {
      const outcomes = await rig.within("settle", subscription.settle(settlements, tx === undefined ? {} : { tx }));
      assert.equal(outcomes.length, settlements.length, "one outcome each");
      return outcomes;
    },
    ack: (...deliveries) => taker.settle(deliveries.map((delivery) => ({ kind: "ack", delivery }))),
    async close() {
      await rig.within("dispose of a subscription", Promise.resolve(subscription[Symbol.asyncDispose]()));
      await rig.within("end of the iteration after dispose", pump);
    },
  };
  rig.defer(() => taker.close());
  return taker;
}

/** Subscribing rejects with `code`. */
export async function refusesSubscribe(rig: Rig, transport: Transport, fields: Asked, code: string): Promise<void> {
  let subscription: Subscription | undefined;
  await assert.rejects(
    async () => {
      subscription = await rig.within("subscribe", transport.subscribe(asking(rig, fields)));
      await subscription[Symbol.asyncDispose]();
    },
    (error: Error & { code?: string; certainty?: string }) => {
      assert.equal(error.code, code, `subscribe was refused with ${error.code ?? error.message}, expected ${code}`);
      assert.equal(error.certainty, "definite");
      return true;
    },
  );
}

/** Publishing this one message has a definite error of `code`. */
export function definite(
  outcome: { readonly ok: boolean; readonly error?: { readonly code: string; readonly certainty: string } } | undefined,
  code: string,
): void {
  assert(outcome !== undefined);
  assert.equal(outcome.ok, false, `the publish was taken, expected ${code}`);
  assert.equal(outcome.error?.code, code);
  assert.equal(outcome.error?.certainty, "definite");
}

export const ids = (deliveries: readonly Delivery[]): string[] => deliveries.map((delivery) => delivery.message.id);
