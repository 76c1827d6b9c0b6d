import { WaybillError } from "../errors.ts";
import type {
  Credit,
  Delivery,
  Settlement,
  SettleOutcome,
  SubscribeRequest,
  Subscription,
  SubscriptionEvent,
  Transport,
} from "../transport.ts";
import { originalOf, Passed, type Addresses } from "./addresses.ts";
import { merge } from "./merge.ts";
import { hybridTransaction } from "./transaction.ts";

/** A part of a subscription: what one transport adds to it. */
interface Part {
  readonly index: number;
  readonly subscription: Subscription;
}

/** On one transport: as it is, but for reply addresses and transactions. */
export function single(subscription: Subscription, index: number, addresses: Addresses): Subscription {
  const inward = (batch: readonly Delivery[]): readonly Delivery[] => changeBatch(batch, (delivery) => addresses.inward(delivery, index));
  return {
    address: subscription.address,
    deliveries: () => merge([subscription.deliveries()], inward),
    async settle(settlements, options) {
      const own = settlements.some(({ delivery }) => delivery.handle instanceof Passed) ? settlements.map(originalSettlement) : settlements;
      const tx = await hybridTransaction(options?.tx)?.on(index);
      return subscription.settle(own, tx === undefined ? undefined : { tx });
    },
    credit: (credit) => subscription.credit(credit),
    [Symbol.asyncDispose]: () => subscription[Symbol.asyncDispose](),
  };
}

/** Opens it on each of several transports, or on none. */
export async function openParts(transports: readonly Transport[], indexes: readonly number[], request: SubscribeRequest): Promise<Part[]> {
  let failed = false;
  const requestOf = (index: number): SubscribeRequest => ({
    ...request,
    credit: share(request.credit, indexes.length),
    onEvent(event) {
      // One of them ends the whole; the core opens it anew.
      if (event.kind === "failed" && failed) return;
      failed ||= event.kind === "failed";
      return request.onEvent(inwardEvent(event, index));
    },
  });
  const opened = await Promise.allSettled(
    indexes.map(async (index) => ({ index, subscription: await (transports[index] as Transport).subscribe(requestOf(index)) })),
  );
  const parts = opened.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  const refused = opened.find((one) => one.status === "rejected");
  if (refused === undefined) return parts;
  await disposeAll(parts);
  throw refused.reason as Error;
}

/** On several transports. Each has its share of the credit, at least one message. */
export function merged(parts: readonly Part[], addresses: Addresses, address?: string): Subscription {
  const change = (batch: readonly Delivery[], at: number): readonly Delivery[] => {
    const { index } = parts[at] as Part;
    return changeBatch(batch, (delivery) => inwardOf(delivery, index, addresses));
  };
  return {
    address,
    deliveries: () =>
      merge(
        parts.map(({ subscription }) => subscription.deliveries()),
        change,
      ),
    async settle(settlements, settings) {
      const outcomes: SettleOutcome[] = Array.from({ length: settlements.length }, () => "lost");
      await Promise.all(
        parts.map(async ({ index, subscription }) => {
          const places = settlements.flatMap(({ delivery }, place) =>
            delivery.handle instanceof Passed && delivery.handle.index === index ? [place] : [],
          );
          if (places.length === 0) return;
          const tx = await hybridTransaction(settings?.tx)?.on(index);
          const own = places.map((place) => originalSettlement(settlements[place] as Settlement));
          const answers = await subscription.settle(own, tx === undefined ? undefined : { tx });
          places.forEach((place, at) => (outcomes[place] = answers[at] ?? "unknown"));
        }),
      );
      return outcomes;
    },
    credit(credit) {
      for (const { subscription } of parts) subscription.credit(share(credit, parts.length));
    },
    [Symbol.asyncDispose]: () => disposeAll(parts),
  };
}

/** Where parts of several transports meet, each carries the index of its own. */
function inwardOf(delivery: Delivery, index: number, addresses: Addresses): Delivery {
  return { ...addresses.inward(delivery, index), part: partOf(delivery.part, index), handle: new Passed(delivery, index) };
}

function inwardEvent(event: SubscriptionEvent, index: number): SubscriptionEvent {
  return event.kind === "revoked" || event.kind === "lost" ? { ...event, part: partOf(event.part, index) } : event;
}

function partOf(part: string, index: number): string {
  return `${index}/${part}`;
}

function share({ messages, bytes }: Credit, among: number): Credit {
  if (messages === 0) return { messages, bytes };
  return { messages: Math.max(1, Math.floor(messages / among)), bytes: Math.max(1, Math.floor(bytes / among)) };
}

/** The same array where nothing in it changes. */
function changeBatch(batch: readonly Delivery[], change: (delivery: Delivery) => Delivery): readonly Delivery[] {
  let changed: Delivery[] | undefined;
  for (let at = 0; at < batch.length; at += 1) {
    const before = batch[at] as Delivery;
    const after = change(before);
    if (after !== before) (changed ??= [...batch])[at] = after;
  }
  return changed ?? batch;
}

function originalSettlement(settlement: Settlement): Settlement {
  return { ...settlement, delivery: originalOf(settlement.delivery) };
}

async function disposeAll(parts: readonly Part[]): Promise<void> {
  const ended = await Promise.allSettled(parts.map(({ subscription }) => subscription[Symbol.asyncDispose]()));
  const failed = ended.find((one) => one.status === "rejected");
  if (failed !== undefined)
    throw new WaybillError("TRANSPORT", "a part of the subscription did not end in order", { cause: failed.reason });
}
