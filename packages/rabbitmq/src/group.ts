import { WaybillError, type Credit, type Delivery, type Settlement, type SettleOutcome, type SubscribeRequest } from "@waybill/core";
import type { Channel, ConsumeMessage } from "amqplib";
import { createAckWindow, type AckWindow } from "./acks.ts";
import type { Attached } from "./attached.ts";
import { answered } from "./deadline.ts";
import { replyError } from "./failures.ts";
import { createIntake } from "./intake.ts";
import type { Link } from "./link.ts";
import { dueKeys, type Names } from "./names.ts";
import type { SubscribeNative } from "./native.ts";
import type { Settings } from "./options.ts";
import { attemptsBefore, returnsOf, toMessage } from "./properties.ts";
import type { Publisher } from "./publisher.ts";
import { createRewriter } from "./rewrite.ts";
import type { TopologyMaker } from "./topology.ts";

export interface GroupOptions {
  readonly request: SubscribeRequest;
  readonly native: SubscribeNative;
  readonly settings: Settings;
  readonly names: Names;
  readonly topology: TopologyMaker;
  readonly publisher: Publisher;
  readonly nextGeneration: () => number;
  readonly ended: (attached: Attached) => void;
}

/** A channel, and what came by it. */
interface Epoch {
  readonly link: Link;
  readonly channel: Channel;
  readonly generation: number;
  readonly window: AckWindow;
  readonly queue: string;
  readonly deliveryLimit: number | undefined;
  /** Being written anew: neither settled nor open to be. */
  readonly moving: Set<number>;
  consumer: string | undefined;
  prefetch: number;
  waiting: ConsumeMessage[];
  next: number;
  flushAt: NodeJS.Timeout | undefined;
  flushing: boolean;
}

const maxPrefetch = 65_535;
/** How long a finished one may wait for an unfinished one before it, so that one acknowledgement tells of both. */
const holdBackMs = 5;
const goodbyeMs = 2_000;
const nothing: Delivery[] = [];

export function createGroup(options: GroupOptions): Attached {
  const { request, native, settings, topology } = options;
  const group = request.group as string;
  const subject = request.topic ?? (request.pattern as string);
  let { credit } = request;
  let epoch: Epoch | undefined;
  let ended = false;
  let inFlight = 0;
  let inFlightBytes = 0;
  let changing: Promise<void> = Promise.resolve();
  const intake = createIntake(take, () => void stop());
  const rewrite = createRewriter(options);

  async function up(link: Link): Promise<void> {
    const what = `subscribing group "${group}" to "${subject}"`;
    const { queue, deliveryLimit } = await queueOf();
    const channel = await answered(what, link.model.createChannel(), settings.replyTimeoutMs).catch((error: unknown) => {
      throw replyError(error, what);
    });
    const made: Epoch = {
      link,
      channel,
      generation: options.nextGeneration(),
      window: createAckWindow(),
      queue,
      deliveryLimit,
      moving: new Set(),
      consumer: undefined,
      prefetch: 0,
      waiting: [],
      next: 0,
      flushAt: undefined,
      flushing: false,
    };
    let said: Error | undefined;
    channel.on("error", (error) => (said = error));
    // A connection that ends closes its channels first.
    channel.on("close", () =>
      setImmediate(() => {
        if (epoch === made && link.isOpen) fail(replyError(said ?? new Error("the channel ended"), what));
      }),
    );
    if (ended) return void channel.close().catch(() => undefined);
    [inFlight, inFlightBytes] = [0, 0];
    epoch = made;
    try {
      await adjust();
    } catch (error) {
      if (epoch === made) epoch = undefined;
      channel.close().catch(() => undefined);
      throw error;
    }
  }

  async function queueOf(): Promise<{ readonly queue: string; readonly deliveryLimit: number | undefined }> {
    if (native.queue === undefined) return topology.group(group, subject, request.order, native.bindings);
    const queue = native.queue;
    if ((await topology.look(queue)) === undefined) throw new WaybillError("TOPOLOGY", `queue "${queue}" (native.queue) is not there`);
    if (settings.declare)
      await topology.control(`the way back to queue "${queue}"`, (channel) => channel.bindQueue(queue, options.names.due, dueKeys.queue(queue)));
    return { queue, deliveryLimit: settings.deliveryLimit };
  }

  /** One change at a time: the broker's prefetch follows the credit. */
  function adjust(): Promise<void> {
    const next = changing.then(changeNow);
    changing = next.catch(() => undefined);
    return next;
  }

  async function changeNow(): Promise<void> {
    const now = epoch;
    if (now === undefined) return;
    const wanted = ended ? 0 : Math.min(maxPrefetch, Math.floor(credit.messages));
    if (wanted === now.prefetch) return;
    const what = `consuming queue "${now.queue}"`;
    try {
      if (now.consumer !== undefined) {
        const tag = now.consumer;
        now.consumer = undefined;
        await answered(what, now.channel.cancel(tag), settings.replyTimeoutMs);
      }
      now.prefetch = wanted;
      if (wanted === 0) {
        putBack(now);
        return;
      }
      await answered(what, now.channel.prefetch(wanted), settings.replyTimeoutMs);
      const tag = `${settings.connectionName}.${process.pid}.${now.generation}.${options.nextGeneration()}`;
      now.consumer = tag;
      const { consumerPriority } = native;
      await answered(
        what,
        now.channel.consume(now.queue, (message) => arrived(now, tag, message), {
          consumerTag: tag,
          ...(consumerPriority === undefined ? {} : { priority: consumerPriority }),
        }),
        settings.replyTimeoutMs,
      );
    } catch (error) {
      throw replyError(error, what);
    }
  }

  function arrived(from: Epoch, tag: string, message: ConsumeMessage | null): void {
    if (from !== epoch) return;
    if (message !== null) {
      from.window.delivered(message.fields.deliveryTag);
      from.waiting.push(message);
      intake.wake();
    } else if (from.consumer === tag) {
      topology.forget(from.queue);
      fail(new WaybillError("CONNECTION_LOST", `the broker ended the consumer of queue "${from.queue}"`));
    }
  }

  function take(): readonly Delivery[] {
    const now = epoch;
    if (now === undefined || now.next === now.waiting.length) return nothing;
    const deliveries: Delivery[] = [];
    let expired = 0;
    const wallNow = Date.now();
    while (now.next < now.waiting.length && inFlight < credit.messages) {
      const raw = now.waiting[now.next] as ConsumeMessage;
      const size = raw.content.byteLength;
      // One that is above the credit by itself goes alone: it would never go else.
      if (inFlight > 0 && inFlightBytes + size > credit.bytes) break;
      now.next += 1;
      const { deliveryTag } = raw.fields;
      const message = toMessage(raw, request.topic);
      if (message.expiresAt !== undefined && message.expiresAt <= wallNow) {
        expired += 1;
        now.window.finish(deliveryTag);
        continue;
      }
      const returns = returnsOf(raw);
      if (now.deliveryLimit !== undefined && returns >= now.deliveryLimit - 1) {
        now.moving.add(deliveryTag);
        void renew(now, deliveryTag, message, attemptsBefore(raw) + returns);
        continue;
      }
      inFlight += 1;
      inFlightBytes += size;
      const counted = settings.queueType === "quorum" && (returns > 0 || !raw.fields.redelivered);
      deliveries.push({
        message,
        attempt: counted ? attemptsBefore(raw) + returns + 1 : undefined,
        position: undefined,
        part: "",
        generation: now.generation,
        leaseMs: undefined,
        note: undefined,
        takenOver: !counted && raw.fields.redelivered,
        handle: deliveryTag,
      });
    }
    if (now.next === now.waiting.length) [now.waiting, now.next] = [[], 0];
    if (expired > 0) {
      void request.onEvent({ kind: "gap", count: expired, reason: "expired" });
      flushSoon(now);
    }
    return deliveries;
  }

  /** The broker would drop it when it comes back once more: from here on a copy is counted. */
  async function renew(from: Epoch, tag: number, message: Delivery["message"], attempts: number): Promise<void> {
    const written = await rewrite.renew(from.queue, message, attempts, () => epoch === from && !ended);
    from.moving.delete(tag);
    if (written && epoch === from && from.window.finish(tag)) flushSoon(from);
  }

  async function settle(settlements: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
    for (const settlement of settlements) {
      if (settlement.kind === "dead-letter") throw new WaybillError("CAPABILITY", "dead-letter: the copy is the core's to write");
      if (settlement.kind === "extend" && settlement.note !== undefined)
        throw new WaybillError("CAPABILITY", "note: a message in hand cannot be changed");
      if (settlement.kind === "retry") rewrite.check(settlement.delayMs);
    }
    const now = epoch;
    const outcomes: (SettleOutcome | Promise<SettleOutcome>)[] = [];
    let waits = false;
    for (const settlement of settlements) {
      const outcome = settleOne(now, settlement);
      if (typeof outcome !== "string") waits = true;
      outcomes.push(outcome);
    }
    if (now !== undefined && now === epoch) flushSoon(now);
    // Room of its own may let in what waits here.
    intake.wake();
    return waits ? Promise.all(outcomes) : (outcomes as SettleOutcome[]);
  }

  function settleOne(now: Epoch | undefined, settlement: Settlement): SettleOutcome | Promise<SettleOutcome> {
    const { delivery, kind } = settlement;
    const tag = delivery.handle as number;
    if (now === undefined || delivery.generation !== now.generation || now.moving.has(tag) || !now.window.isOpen(tag)) return "lost";
    if (kind === "extend") return "done";
    inFlight -= 1;
    inFlightBytes -= (delivery.message.body as Uint8Array | null)?.byteLength ?? 0;
    if (kind === "ack") return now.window.finish(tag) ? "done" : "lost";
    if (kind === "release") return giveBack(now, tag);
    if (kind !== "retry") return "lost";
    now.moving.add(tag);
    return retry(now, tag, settlement);
  }

  async function retry(now: Epoch, tag: number, settlement: Extract<Settlement, { kind: "retry" }>): Promise<SettleOutcome> {
    const written = await rewrite.retry(now.queue, settlement);
    now.moving.delete(tag);
    if (epoch !== now) return written ? "unknown" : "lost";
    if (written) {
      now.window.finish(tag);
      flushSoon(now);
      return "done";
    }
    // The copy may be there or not: the message comes again by itself, a little later.
    now.moving.add(tag);
    setTimeout(
      () => {
        now.moving.delete(tag);
        if (epoch === now) giveBack(now, tag);
      },
      rewrite.holdMs(settlement.delayMs),
    ).unref();
    return "unknown";
  }

  function giveBack(now: Epoch, tag: number): SettleOutcome {
    if (!now.window.close(tag)) return "lost";
    send(now, () => now.channel.nack(tagged(tag), false, true));
    return "done";
  }

  /** What was not handed out goes to others. */
  function putBack(now: Epoch): void {
    for (const { fields } of now.waiting.slice(now.next)) giveBack(now, fields.deliveryTag);
    [now.waiting, now.next] = [[], 0];
  }

  function flushSoon(now: Epoch): void {
    if (now.flushing) return;
    now.flushing = true;
    queueMicrotask(() => {
      now.flushing = false;
      flush(now, false);
    });
  }

  function flush(now: Epoch, all: boolean): void {
    if (now !== epoch) return;
    const { upTo } = now.window.take(false);
    if (upTo !== undefined) send(now, () => now.channel.ack(tagged(upTo), true));
    // Behind an unfinished one at most an eighth of the prefetch may wait, and not for long.
    if (all || now.window.waiting > now.prefetch >> 3)
      for (const tag of now.window.take(true).singles) send(now, () => now.channel.ack(tagged(tag), false));
    if (now.window.waiting === 0 || now.flushAt !== undefined) return;
    now.flushAt = setTimeout(() => {
      now.flushAt = undefined;
      flush(now, true);
    }, holdBackMs);
  }

  /** A channel that is closing throws: then the broker has it all back. */
  function send(now: Epoch, write: () => void): void {
    if (now !== epoch) return;
    try {
      write();
    } catch {
      // What it did not hear comes again.
    }
  }

  function fail(error: WaybillError): void {
    if (ended) return;
    ended = true;
    void leave();
    const retryable = error.retryable || error.code === "TOPOLOGY";
    void request.onEvent({
      kind: "failed",
      error: retryable === error.retryable ? error : new WaybillError(error.code, error.message, { retryable, cause: error.cause }),
    });
    intake.end();
    options.ended(attached);
  }

  async function stop(): Promise<void> {
    credit = { messages: 0, bytes: 0 };
    await adjust().catch(() => undefined);
  }

  async function leave(): Promise<void> {
    const now = epoch;
    if (now !== undefined) {
      flush(now, true);
      clearTimeout(now.flushAt);
    }
    epoch = undefined;
    if (now?.link.isOpen !== true) return;
    await answered("closing a channel", goodbye(now), goodbyeMs).catch(() => undefined);
  }

  /**
   * Closing gives back what is not settled. A quorum queue's channel sends it 32 commands and holds the next acknowledgements
   * back until these are applied; closing would drop them. The end of the consumer comes after the first, and by the time of
   * another answer the rest have been sent.
   */
  async function goodbye({ channel, consumer }: Epoch): Promise<void> {
    if (consumer !== undefined) await channel.cancel(consumer);
    await channel.prefetch(1);
    await channel.close();
  }

  const attached: Attached = {
    subscription: {
      address: undefined,
      deliveries: () => intake.deliveries,
      settle,
      credit(next: Credit) {
        credit = next;
        adjust().catch((error: unknown) => fail(error as WaybillError));
        intake.wake();
      },
      async [Symbol.asyncDispose]() {
        const first = !ended;
        ended = true;
        intake.end();
        if (!first) return;
        options.ended(attached);
        await changing;
        await leave();
      },
    },
    up,
    down() {
      const now = epoch;
      epoch = undefined;
      clearTimeout(now?.flushAt);
      if (now !== undefined && !ended) void request.onEvent({ kind: "lost", part: "", generation: now.generation });
    },
    fail,
    get watched() {
      return epoch?.consumer === undefined ? undefined : { queue: epoch.queue };
    },
  };
  return attached;
}

function tagged(deliveryTag: number): ConsumeMessage {
  return { fields: { deliveryTag } } as ConsumeMessage;
}
