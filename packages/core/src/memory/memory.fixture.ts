import assert from "node:assert/strict";
import type { WaybillError } from "../errors.ts";
import type {
  Delivery,
  Message,
  PublishOutcome,
  Settlement,
  SettleOutcome,
  SubscribeRequest,
  Subscription,
  SubscriptionEvent,
  Transport,
  TransportStatus,
} from "../transport.ts";
import { messageOf, requestFor } from "../transport.fixture.ts";
import { createVirtualClock, type VirtualClock } from "../virtual-clock.ts";
import { memoryBroker, type MemoryBroker } from "./broker.ts";
import type { MemoryOptions } from "./options.ts";

/** A broker on a clock that stands still, and transports on it. */
export interface Rig {
  readonly clock: VirtualClock;
  readonly broker: MemoryBroker;
  readonly transport: Transport;
  /** What the first transport said of itself. */
  readonly statuses: readonly TransportStatus[];
  /** Another connected transport on the same broker. */
  open(): Promise<Transport>;
  publish(...messages: readonly Message[]): Promise<readonly PublishOutcome[]>;
  /** A subscription of `transport`, with its iteration begun. */
  subscribe(request?: Partial<SubscribeRequest>, transport?: Transport): Promise<Taker>;
}

/** Reads a subscription. */
export interface Taker {
  readonly subscription: Subscription;
  readonly deliveries: Delivery[];
  readonly batches: (readonly Delivery[])[];
  readonly events: SubscriptionEvent[];
  readonly ended: boolean;
  /** All bodies so far. */
  bodies(): unknown[];
  /** Waits until it has had so many, and answers them all. */
  until(count: number): Promise<readonly Delivery[]>;
  settle(kind: "ack" | "release", ...deliveries: readonly Delivery[]): Promise<readonly SettleOutcome[]>;
  settleAll(settlements: readonly Settlement[]): Promise<readonly SettleOutcome[]>;
}

export const signal: AbortSignal = new AbortController().signal;

let messages = 0;
export function message(body: unknown, fields: Partial<Message> = {}): Message {
  messages += 1;
  return messageOf({ id: `m-${messages}`, topic: "orders", body, ...fields });
}

export async function createRig(options: MemoryOptions = {}): Promise<Rig> {
  const clock = createVirtualClock({ now: 1_000_000 });
  const broker = memoryBroker({ ...options, clock });
  const statuses: TransportStatus[] = [];
  const open = async (onStatus: (status: TransportStatus) => void = () => undefined): Promise<Transport> => {
    const transport = broker.open();
    await transport.connect({ signal, onStatus });
    return transport;
  };
  const transport = await open((status) => statuses.push(status));
  return {
    clock,
    broker,
    transport,
    statuses,
    open: () => open(),
    publish: (...messages) => transport.publish(messages, { signal }),
    subscribe: (request, on = transport) => subscribe(on, request),
  };
}

async function subscribe(transport: Transport, fields: Partial<SubscribeRequest> = {}): Promise<Taker> {
  const deliveries: Delivery[] = [];
  const batches: (readonly Delivery[])[] = [];
  const events: SubscriptionEvent[] = [];
  let ended = false;
  const subscription = await transport.subscribe(requestFor({ onEvent: (event) => void events.push(event), ...fields }));
  void (async () => {
    for await (const batch of subscription.deliveries()) {
      batches.push(batch);
      deliveries.push(...batch);
    }
    ended = true;
  })();
  return {
    subscription,
    deliveries,
    batches,
    events,
    get ended() {
      return ended;
    },
    bodies: () => deliveries.map((delivery) => delivery.message.body),
    async until(count) {
      await eventually(() => deliveries.length >= count, `${count} deliveries`);
      return deliveries;
    },
    settle: (kind, ...which) => subscription.settle(which.map((delivery) => ({ kind, delivery }))),
    settleAll: (settlements) => subscription.settle(settlements),
  };
}

/** Lets the loop turn until it holds, for at most two seconds. */
export async function eventually(holds: () => boolean, what: string): Promise<void> {
  const until = performance.now() + 2_000;
  while (!holds()) {
    assert.ok(performance.now() < until, `still waiting for ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A few turns of the loop, in which whatever was to come has come. */
export async function settled(): Promise<void> {
  for (let turns = 0; turns < 5; turns += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Smallest first. */
export function numbers(values: readonly unknown[]): unknown[] {
  return values.toSorted((a, b) => Number(a) - Number(b));
}

export function errorOf(outcome: PublishOutcome | undefined): WaybillError {
  assert.equal(outcome?.ok, false);
  return outcome.error;
}
