import {
  type Credit,
  type Delivery,
  type Settlement,
  type SettleOutcome,
  type SubscribeRequest,
  type Subscription,
  type SubscriptionEvent,
  type Transaction,
  WaybillError,
} from "@waybill/core";
import { type Batch, bytesAt, type OwnDelivery, toBatch, unpack } from "./batch.ts";
import type { Link } from "./link.ts";
import { packExpired, packSettlements } from "./settlements.ts";
import { monotonicMs } from "./sql/clock.ts";
import type { Deliver, Grant, SubscribeCall } from "./worker/protocol.ts";

/** Deliveries unpacked in one go: more at once would hold up the event loop. */
const smallRoomMs = 20;
const maxSlice = 125;
const settleMs = 30_000;

/** The user thread's half of a subscription. The worker fetches only what was granted: credit less what is in hand. */
export interface OwnSubscription extends Subscription {
  readonly id: number;
  /** How the worker is told of it, at first and after it was started again. */
  readonly call: SubscribeCall;
  readonly request: SubscribeRequest;
  deliver(message: Deliver): void;
  event(event: SubscriptionEvent): void;
  /** The subscription cannot go on. */
  fail(error: WaybillError): void;
  /** The worker was started anew: it has handed out nothing. */
  restarted(): void;
  /** Lets go of what ran out of its lease on this side. */
  sweep(now: number): void;
}

export interface SubscriptionOptions {
  readonly id: number;
  readonly link: Link;
  readonly call: SubscribeCall;
  readonly request: SubscribeRequest;
  /** Settles in a transaction of this thread; `committed` is called after its commit. */
  readonly settleIn: (tx: Transaction, settlements: readonly Settlement[], committed: () => void) => Promise<readonly SettleOutcome[]>;
  readonly disposed: () => void;
}

export function openSubscription(options: SubscriptionOptions): OwnSubscription {
  const { id, link, call, request } = options;
  const isReader = request.group === undefined;
  const queue: Batch[] = [];
  const batches = new Set<Batch>();
  let credit: Credit = request.credit;
  /** All that the worker handed over since it knows of us, and what of it is not settled. */
  let received = 0;
  let receivedBytes = 0;
  let inHand = 0;
  let inHandBytes = 0;
  /** A reader's: what the last array of deliveries had. */
  let lastRead = 0;
  let lastReadBytes = 0;
  let stopped = false;
  let disposed: Promise<void> | undefined;
  let wake: (() => void) | undefined;
  let failure: WaybillError | undefined;
  let iterated = false;
  let telling = false;
  /** What the worker knows of. */
  let told = 0;
  let smallRoom: NodeJS.Timeout | undefined;

  function granted(): number {
    return received + (!stopped && credit.messages > 0 ? credit.messages - inHand : 0);
  }

  function grant(): Grant {
    const open = !stopped && credit.messages > 0;
    told = granted();
    return {
      sub: id,
      messages: told,
      bytes: receivedBytes + (open ? credit.bytes - inHandBytes : 0),
      empty: inHand === 0,
      minimum: minimum(),
    };
  }

  /** What is worth a fetch. */
  function minimum(): number {
    return Math.max(1, Math.min(maxSlice, Math.floor(credit.messages / 4)));
  }

  /** Once for all that changes in this turn. */
  function tellGrant(): void {
    if (telling) return;
    telling = true;
    clearTimeout(smallRoom);
    smallRoom = undefined;
    queueMicrotask(() => {
      telling = false;
      link.tell({ t: "grant", grant: grant() });
    });
  }

  /** The worker is woken for room that is worth a fetch, else after a while. */
  function tellRoom(): void {
    if (inHand === 0 || granted() - told >= minimum()) tellGrant();
    else smallRoom ??= setTimeout(tellGrant, smallRoomMs);
  }

  function letGo(batch: Batch, at: number): void {
    batch.settled[at] = 1;
    batch.left--;
    inHand--;
    inHandBytes -= bytesAt(batch, at);
    if (batch.left === 0) batches.delete(batch);
  }

  async function settle(settlements: readonly Settlement[], choices?: { readonly tx?: Transaction }): Promise<readonly SettleOutcome[]> {
    const outcomes: SettleOutcome[] = Array.from({ length: settlements.length }, () => "done");
    let places: number[] | undefined;
    let open = settlements;
    if (disposed !== undefined || !settlements.every(isOpen)) {
      places = [];
      for (let i = 0; i < settlements.length; i++) {
        if (disposed === undefined && isOpen(settlements[i]!)) places.push(i);
        else outcomes[i] = "lost";
      }
      open = places.map((at) => settlements[at]!);
    }
    if (open.length === 0) return outcomes;
    const tx = choices?.tx;
    if (tx !== undefined) return merge(outcomes, places, await settleInTransaction(tx, open));
    for (const one of open) note(one);
    const packed = packSettlements(open, request.leaseMs);
    const numbers = packed.numbers.buffer as ArrayBuffer;
    const reply = await link.request(
      { t: "settle", id: link.nextId(), numbers, notes: packed.notes, deadLetters: packed.deadLetters, grant: grant() },
      [numbers],
      settleMs,
    );
    if (reply?.t !== "settled")
      return merge(
        outcomes,
        places,
        open.map(() => "unknown"),
      );
    if (reply.lost !== undefined) for (const at of reply.lost) outcomes[places === undefined ? at : places[at]!] = "lost";
    return outcomes;
  }

  async function settleInTransaction(tx: Transaction, open: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
    // In hand until the commit: a rollback leaves them so.
    return options.settleIn(tx, open, () => {
      for (const one of open) note(one);
      tellRoom();
    });
  }

  function merge(outcomes: SettleOutcome[], places: readonly number[] | undefined, part: readonly SettleOutcome[]): SettleOutcome[] {
    part.forEach((outcome, i) => {
      outcomes[places === undefined ? i : places[i]!] = outcome;
    });
    return outcomes;
  }

  function isOpen(one: Settlement): boolean {
    const { handle: batch, at } = one.delivery as OwnDelivery;
    return batches.has(batch) && batch.settled[at] === 0;
  }

  /** What this thread remembers of a settlement on its way. */
  function note(one: Settlement): void {
    const { handle: batch, at } = one.delivery as OwnDelivery;
    if (batch.settled[at] === 1) return;
    if (one.kind === "extend") {
      batch.extended ??= new Float64Array(batch.count);
      batch.extended[at] = performance.now() + request.leaseMs;
    } else letGo(batch, at);
  }

  async function* deliveries(): AsyncGenerator<readonly Delivery[], void, undefined> {
    if (iterated) throw new WaybillError("CONFIG", "deliveries() of a subscription is iterated once");
    iterated = true;
    try {
      for (;;) {
        finishRead();
        const batch = queue[0];
        if (batch === undefined) {
          if (stopped || failure !== undefined) return;
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          wake = undefined;
          continue;
        }
        const slice = unpack(batch, maxSlice);
        if (batch.unpacked >= batch.count) queue.shift();
        if (isReader) {
          lastRead = slice.length;
          lastReadBytes = slice.reduce((sum, one) => sum + bytesAt(batch, one.at), 0);
        }
        if (slice.length > 0) yield slice;
      }
    } finally {
      stop();
    }
  }

  /** A reader has nothing to settle: what it read is out of hand when it asks for more. */
  function finishRead(): void {
    if (lastRead === 0) return;
    inHand -= lastRead;
    inHandBytes -= lastReadBytes;
    lastRead = 0;
    lastReadBytes = 0;
    if (!stopped) tellGrant();
  }

  /** No more intake. What came and was not seen by anybody goes back. */
  function stop(): void {
    if (stopped) return;
    stopped = true;
    wake?.();
    if (isReader) {
      queue.length = 0;
      tellGrant();
      return;
    }
    const unseen = queue.splice(0).flatMap((batch) => unpack(batch, batch.count));
    if (unseen.length > 0 && disposed === undefined) {
      void settle(unseen.map((delivery) => ({ kind: "release", delivery })));
    } else tellGrant();
  }

  function tell(event: SubscriptionEvent): void {
    try {
      Promise.resolve(request.onEvent(event)).catch(() => undefined);
    } catch {
      // The core's own listener must not throw; if it does, this is not the place to tell.
    }
  }

  async function dispose(): Promise<void> {
    stop();
    options.disposed();
    batches.clear();
    clearTimeout(smallRoom);
    await link.call("unsubscribe", { sub: id }, 5000).catch(() => undefined);
  }

  return {
    id,
    call,
    request,
    address: call.inbox,
    deliveries,
    settle,
    credit(next) {
      credit = next;
      tellGrant();
    },
    deliver(message) {
      const batch = toBatch(message, monotonicMs());
      received += batch.count;
      receivedBytes += message.bytes;
      if (disposed !== undefined) return;
      inHand += batch.count;
      inHandBytes += message.bytes;
      if (!isReader) batches.add(batch);
      queue.push(batch);
      if (stopped) {
        // Was on its way when intake ended.
        queue.pop();
        if (isReader) return;
        const unseen = unpack(batch, batch.count);
        void settle(unseen.map((delivery) => ({ kind: "release", delivery })));
        return;
      }
      wake?.();
    },
    event: tell,
    fail(error) {
      if (failure !== undefined) return;
      failure = error;
      tell({ kind: "failed", error });
      wake?.();
    },
    restarted() {
      received = 0;
      receivedBytes = 0;
      tellGrant();
    },
    sweep(now) {
      const expired: { batch: Batch; at: number }[] = [];
      for (const batch of batches) {
        if (batch.until > now) continue;
        for (let at = 0; at < batch.count; at++) {
          if (batch.settled[at] === 1 || (batch.extended?.[at] ?? 0) > now) continue;
          expired.push({ batch, at });
        }
      }
      if (expired.length === 0) return;
      const packed = packExpired(expired);
      for (const { batch, at } of expired) letGo(batch, at);
      const numbers = packed.numbers.buffer as ArrayBuffer;
      void link.request({ t: "settle", id: link.nextId(), numbers, notes: [], deadLetters: [], grant: grant() }, [numbers], settleMs);
    },
    [Symbol.asyncDispose]() {
      disposed ??= dispose();
      return disposed;
    },
  };
}
