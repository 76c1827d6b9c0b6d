import { deadLetterGroup, WaybillError, type Delivery, type Settlement, type SettleOutcome, type SubscribeRequest } from "@waybill/core";
import type { Channel } from "amqplib";
import { createAcknowledger } from "./acknowledger.ts";
import type { Attached } from "./attached.ts";
import { isMarked } from "./careful.ts";
import { createConsumption } from "./consumption.ts";
import { answered } from "./deadline.ts";
import { toDelivery, type Handle } from "./delivery.ts";
import { replyError } from "./failures.ts";
import { createIntake } from "./intake.ts";
import { createKeyedRetries } from "./keyed.ts";
import type { Link } from "./link.ts";
import { createMoves, type Epoch } from "./moves.ts";
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

const goodbyeMs = 2_000;
const nothing: Delivery[] = [];

/** A member of a group: the queue of that group, on a channel of its own. */
export function createGroup(options: GroupOptions): Attached {
  const { request, native, settings, topology } = options;
  const group = request.group as string;
  const subject = request.topic ?? request.pattern ?? "";
  const keyed = request.order === "key";
  /** Nothing is handled by whoever looks through dead letters. */
  const plain = keyed || group === deadLetterGroup;
  const counts = settings.queueType === "quorum";
  let { credit } = request;
  let epoch: Epoch | undefined;
  let ended = false;
  let inFlight = 0;
  let inFlightBytes = 0;
  const deliveries = createIntake(take, () => void stop());
  const rewrite = createRewriter(options);
  const { renew, retry, putBack, writeAgain } = createMoves({
    rewrite,
    topic: request.topic,
    plain,
    isCurrent: (each) => each === epoch,
  });

  async function up(link: Link): Promise<void> {
    const what = `subscribing group "${group}" to "${subject}"`;
    const { queue, deliveryLimit } = await queueOf();
    const channel = await answered(what, link.model.createChannel(), settings.replyTimeoutMs).catch((error: unknown) => {
      throw replyError(error, what);
    });
    let said: Error | undefined;
    channel.on("error", (error) => (said = error));
    const made = createEpoch(link, channel, queue, deliveryLimit);
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
      await made.intake.adjust();
    } catch (error) {
      if (epoch === made) epoch = undefined;
      channel.close().catch(() => undefined);
      throw error;
    }
  }

  function createEpoch(link: Link, channel: Channel, queue: string, deliveryLimit: number | undefined): Epoch {
    const generation = options.nextGeneration();
    const acks = createAcknowledger(channel, () => made.intake.prefetch);
    const retries = createKeyedRetries(deliveries.wake);
    const isCurrent = (): boolean => epoch === made;
    const intake = createConsumption({
      channel,
      queue,
      plain,
      replyTimeoutMs: settings.replyTimeoutMs,
      priority: native.consumerPriority,
      nextTag: () => `${settings.connectionName}.${process.pid}.${generation}.${options.nextGeneration()}`,
      wanted: () => (ended ? 0 : Math.floor(credit.messages)),
      quiet: () => inFlight === 0 && made.moving.size === 0,
      arrived: (raw) => acks.delivered(raw.fields.deliveryTag),
      cancelled() {
        if (!isCurrent()) return;
        topology.forget(queue);
        fail(new WaybillError("CONNECTION_LOST", `the broker ended the consumer of queue "${queue}"`));
      },
      broken: (error) => isCurrent() && link.isOpen && fail(error as WaybillError),
      writeAgain: (raw) => writeAgain(made, raw).then(() => undefined),
      giveBack: (raw) => void putBack(made, raw),
      wake: () => isCurrent() && deliveries.wake(),
    });
    const made: Epoch = { link, channel, generation, queue, deliveryLimit, acks, intake, retries, moving: new Set(), again: new Map() };
    return made;
  }

  async function queueOf(): Promise<{ readonly queue: string; readonly deliveryLimit: number | undefined }> {
    if (native.queue === undefined) return topology.group(group, subject, request.order, native.bindings);
    const { queue } = native;
    if ((await topology.look(queue)) === undefined) throw new WaybillError("TOPOLOGY", `queue "${queue}" (native.queue) is not there`);
    if (settings.declare)
      await topology.control(`the way back to queue "${queue}"`, (channel) =>
        channel.bindQueue(queue, options.names.due, dueKeys.queue(queue)),
      );
    return { queue, deliveryLimit: settings.deliveryLimit };
  }

  function take(): readonly Delivery[] {
    const now = epoch;
    if (now === undefined) return nothing;
    const taken: Delivery[] = [];
    let expired = 0;
    while (inFlight < credit.messages) {
      const due = now.retries.peek();
      const raw = due?.raw ?? now.intake.peek();
      if (raw === undefined) break;
      const size = raw.content.byteLength;
      // One that is above the credit by itself goes alone: it would never go else.
      if (inFlight > 0 && inFlightBytes + size > credit.bytes) break;
      const tag = raw.fields.deliveryTag;
      const message = toMessage(raw, request.topic);
      if (due === undefined) now.intake.shift();
      else now.retries.shift();
      if (keyed && now.retries.park(raw, message.key)) continue;
      if (message.expiresAt !== undefined && message.expiresAt <= Date.now() && due?.attempt === undefined) {
        expired += 1;
        now.acks.finish(tag);
        continue;
      }
      const returns = returnsOf(raw);
      if (now.deliveryLimit !== undefined && returns >= now.deliveryLimit - 1 && due === undefined) {
        now.moving.add(tag);
        void renew(now, tag, message, attemptsBefore(raw) + returns);
        continue;
      }
      now.moving.delete(tag);
      if (due !== undefined) now.again.set(tag, due);
      inFlight += 1;
      inFlightBytes += size;
      taken.push(toDelivery(raw, message, { generation: now.generation, counts, due }));
    }
    if (expired > 0) {
      void request.onEvent({ kind: "gap", count: expired, reason: "expired" });
      now.intake.settled();
    }
    return taken;
  }

  async function settle(settlements: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
    for (const settlement of settlements) {
      if (settlement.kind === "dead-letter") throw new WaybillError("CAPABILITY", "dead-letter: the copy is the core's to write");
      if (settlement.kind === "extend" && settlement.note !== undefined)
        throw new WaybillError("CAPABILITY", "note: a message in hand cannot be changed");
      if (settlement.kind === "retry" && !keyed) rewrite.check(settlement.delayMs);
    }
    const now = epoch;
    const outcomes: (SettleOutcome | Promise<SettleOutcome>)[] = [];
    let waits = false;
    for (const settlement of settlements) {
      const outcome = settleOne(now, settlement);
      if (typeof outcome !== "string") waits = true;
      outcomes.push(outcome);
    }
    now?.intake.settled();
    // Room of its own may let in what waits here.
    deliveries.wake();
    return waits ? Promise.all(outcomes.map((outcome) => Promise.resolve(outcome))) : (outcomes as SettleOutcome[]);
  }

  function settleOne(now: Epoch | undefined, settlement: Settlement): SettleOutcome | Promise<SettleOutcome> {
    const { delivery, kind } = settlement;
    if (now === undefined || delivery.generation !== now.generation) return "lost";
    const handle = delivery.handle as Handle;
    const raw = "raw" in handle ? handle.raw : handle;
    const tag = raw.fields.deliveryTag;
    if (now.moving.has(tag) || !now.acks.isOpen(tag) || (now.again.get(tag) ?? handle) !== handle) return "lost";
    if (kind === "extend") return "done";
    inFlight -= 1;
    inFlightBytes -= raw.content.byteLength;
    if (kind === "ack") {
      now.again.delete(tag);
      return now.acks.finish(tag) ? "done" : "lost";
    }
    if (kind === "release") return putBack(now, raw);
    if (kind !== "retry") return "lost";
    now.moving.add(tag);
    if (!keyed) return retry(now, raw, settlement);
    now.retries.retry({ raw, attempt: delivery.attempt ?? 1, note: settlement.note }, delivery.message.key, settlement.delayMs);
    return "done";
  }

  function fail(error: WaybillError): void {
    if (ended) return;
    ended = true;
    void leave();
    // Made again it may be right.
    const retryable = error.retryable || error.code === "TOPOLOGY";
    const told = retryable === error.retryable ? error : new WaybillError(error.code, error.message, { retryable, cause: error.cause });
    void request.onEvent({ kind: "failed", error: told });
    deliveries.end();
    options.ended(attached);
  }

  async function stop(): Promise<void> {
    credit = { messages: 0, bytes: 0 };
    await epoch?.intake.adjust().catch(() => undefined);
  }

  async function leave(): Promise<void> {
    const now = epoch;
    if (now?.link.isOpen === true) await answered("closing a channel", goodbye(now), goodbyeMs).catch(() => undefined);
    if (epoch === now) epoch = undefined;
    now?.retries.clear();
    now?.acks.close();
  }

  /**
   * Closing gives back what is not settled. A quorum queue's channel sends it 32 commands and holds the next acknowledgements
   * back until these are applied; closing would drop them. The end of the consumer comes after the first, and by the time of
   * another answer the rest have been sent.
   */
  async function goodbye(now: Epoch): Promise<void> {
    const marked = plain ? [] : now.intake.withdraw().filter(isMarked);
    await Promise.all(marked.map((raw) => writeAgain(now, raw)));
    now.acks.flush();
    await now.intake.end();
    if (epoch === now) epoch = undefined;
    await now.channel.close();
  }

  const attached: Attached = {
    subscription: {
      address: undefined,
      deliveries: () => deliveries.deliveries,
      settle,
      credit(next) {
        credit = next;
        epoch?.intake.adjust().catch((error: unknown) => fail(error as WaybillError));
        deliveries.wake();
      },
      async [Symbol.asyncDispose]() {
        const first = !ended;
        ended = true;
        deliveries.end();
        if (!first) return;
        options.ended(attached);
        await leave();
      },
    },
    up,
    down() {
      const now = epoch;
      epoch = undefined;
      now?.retries.clear();
      now?.acks.close();
      if (now !== undefined && !ended) void request.onEvent({ kind: "lost", part: "", generation: now.generation });
    },
    fail,
    get watched() {
      return epoch?.intake.isAttached === true ? { queue: epoch.queue } : undefined;
    },
    waitingOf: (queue) => (epoch?.queue === queue ? epoch.intake.waiting + epoch.retries.size : 0),
  };
  return attached;
}
