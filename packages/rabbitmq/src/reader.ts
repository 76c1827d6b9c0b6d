import { WaybillError, type Credit, type Delivery, type StartPosition, type SubscribeRequest } from "@waybill/core";
import type { Channel, ConsumeMessage } from "amqplib";
import type { Attached } from "./attached.ts";
import { isStream } from "./capabilities.ts";
import { answered } from "./deadline.ts";
import { replyError } from "./failures.ts";
import { createIntake } from "./intake.ts";
import type { Link } from "./link.ts";
import { bindingKey, dueKeys, type Names } from "./names.ts";
import type { SubscribeNative } from "./native.ts";
import type { Settings } from "./options.ts";
import { toMessage } from "./properties.ts";

export interface ReaderOptions {
  readonly request: SubscribeRequest;
  readonly native: SubscribeNative;
  readonly settings: Settings;
  readonly names: Names;
  readonly nextGeneration: () => number;
  readonly ended: (attached: Attached) => void;
}

interface Epoch {
  readonly link: Link;
  readonly channel: Channel;
  readonly generation: number;
  readonly queue: string;
  waiting: ConsumeMessage[];
  next: number;
  /** Handed out, and to be acknowledged when more is asked for. */
  inHand: number | undefined;
}

const maxPrefetch = 65_535;
const goodbyeMs = 2_000;
const nothing: Delivery[] = [];

/** Reads a topic or pattern by a queue of its own, or a topic that is kept by its stream; it takes nothing from anybody. */
export function createReader(options: ReaderOptions): Attached {
  const { request, native, settings, names } = options;
  const subject = request.topic ?? request.pattern ?? "";
  const stream = request.topic !== undefined && isStream(settings, request.topic);
  const what = `reading "${subject}"`;
  let { credit } = request;
  let epoch: Epoch | undefined;
  let ended = false;
  let began = false;
  let lastOffset: number | undefined;
  const intake = createIntake(take, () => (credit = { messages: 0, bytes: 0 }));

  async function up(link: Link): Promise<void> {
    const channel = await answered(what, link.model.createChannel(), settings.replyTimeoutMs).catch((error: unknown) => {
      throw replyError(error, what);
    });
    let said: Error | undefined;
    channel.on("error", (error) => (said = error));
    try {
      const queue = native.queue ?? (stream ? names.stream(subject) : await ownQueue(channel));
      const made: Epoch = { link, channel, generation: options.nextGeneration(), queue, waiting: [], next: 0, inHand: undefined };
      // A connection that ends closes its channels first.
      channel.on("close", () =>
        setImmediate(() => {
          if (epoch === made && link.isOpen) fail(replyError(said ?? new Error("the channel ended"), what));
        }),
      );
      epoch = made;
      await answered(what, channel.prefetch(Math.max(1, Math.min(maxPrefetch, credit.messages))), settings.replyTimeoutMs);
      await answered(
        what,
        channel.consume(
          queue,
          (message) => arrived(made, message),
          stream ? { arguments: { "x-stream-offset": offset() } } : { exclusive: native.queue === undefined },
        ),
        settings.replyTimeoutMs,
      );
    } catch (error) {
      epoch = undefined;
      channel.close().catch(() => undefined);
      throw replyError(said ?? error, what);
    }
    if (ended) return void leave();
    if (began && !stream) void request.onEvent({ kind: "gap", count: undefined, reason: "the connection was lost, and its queue with it" });
    began = true;
  }

  /** Gone with the connection. */
  async function ownQueue(channel: Channel): Promise<string> {
    const { queue } = await answered(
      what,
      channel.assertQueue("", { exclusive: true, autoDelete: true, durable: false }),
      settings.replyTimeoutMs,
    );
    const route = settings.topics.get(subject);
    await answered(
      what,
      channel.bindQueue(queue, route?.exchange ?? names.exchange, route?.routingKey ?? bindingKey(subject)),
      settings.replyTimeoutMs,
    );
    await answered(what, channel.bindQueue(queue, names.due, dueKeys.topic(bindingKey(subject))), settings.replyTimeoutMs);
    for (const binding of native.bindings ?? [])
      await answered(
        what,
        channel.bindQueue(queue, binding.exchange, binding.routingKey ?? "", binding.arguments),
        settings.replyTimeoutMs,
      );
    return queue;
  }

  function offset(): unknown {
    if (lastOffset !== undefined) return lastOffset + 1;
    return offsetOf(request.from);
  }

  function arrived(from: Epoch, message: ConsumeMessage | null): void {
    if (from !== epoch) return;
    if (message === null) return fail(new WaybillError("CONNECTION_LOST", `${what}: the broker ended the consumer`));
    from.waiting.push(message);
    intake.wake();
  }

  function take(): readonly Delivery[] {
    const now = epoch;
    if (now === undefined || credit.messages < 1) return nothing;
    if (now.inHand !== undefined) {
      acknowledge(now, now.inHand);
      now.inHand = undefined;
    }
    const deliveries: Delivery[] = [];
    let bytes = 0;
    while (now.next < now.waiting.length && deliveries.length < credit.messages) {
      const raw = now.waiting[now.next] as ConsumeMessage;
      if (deliveries.length > 0 && bytes + raw.content.byteLength > credit.bytes) break;
      now.next += 1;
      bytes += raw.content.byteLength;
      now.inHand = raw.fields.deliveryTag;
      const position = positionOf(raw);
      if (position !== undefined) lastOffset = position;
      const message = toMessage(raw, request.topic);
      if (isBefore(request.from, position, message.time) || (message.expiresAt !== undefined && message.expiresAt <= Date.now())) continue;
      deliveries.push({
        message,
        attempt: undefined,
        position,
        part: "",
        generation: now.generation,
        leaseMs: undefined,
        note: undefined,
        takenOver: false,
        handle: undefined,
      });
    }
    if (now.next === now.waiting.length) [now.waiting, now.next] = [[], 0];
    // All of it was of no interest: nobody will ask again for it to be acknowledged.
    if (deliveries.length === 0 && now.inHand !== undefined) {
      acknowledge(now, now.inHand);
      now.inHand = undefined;
    }
    return deliveries;
  }

  function acknowledge({ channel }: Epoch, deliveryTag: number): void {
    try {
      channel.ack({ fields: { deliveryTag } } as ConsumeMessage, true);
    } catch {
      // The channel is closing: there is nothing to tell.
    }
  }

  function fail(error: WaybillError): void {
    if (ended) return;
    ended = true;
    void leave();
    void request.onEvent({ kind: "failed", error });
    intake.end();
    options.ended(attached);
  }

  async function leave(): Promise<void> {
    const now = epoch;
    epoch = undefined;
    if (now?.link.isOpen === true) await answered("closing a channel", now.channel.close(), goodbyeMs).catch(() => undefined);
  }

  const attached: Attached = {
    subscription: {
      address: undefined,
      deliveries: () => intake.deliveries,
      // Nothing was taken from anybody: there is nothing to do, and it is done.
      settle: async (settlements) => settlements.map(() => "done"),
      credit(next: Credit) {
        credit = next;
        intake.wake();
      },
      async [Symbol.asyncDispose]() {
        const first = !ended;
        ended = true;
        intake.end();
        if (!first) return;
        options.ended(attached);
        await leave();
      },
    },
    up,
    down() {
      epoch = undefined;
    },
    fail,
    waitingOf: () => 0,
    get watched() {
      return epoch === undefined ? undefined : { queue: epoch.queue };
    },
  };
  return attached;
}

function positionOf({ properties }: ConsumeMessage): number | undefined {
  const value: unknown = properties.headers?.["x-stream-offset"];
  return typeof value === "number" ? value : undefined;
}

function offsetOf(from: StartPosition): unknown {
  if (from === "latest") return "next";
  if (from === "earliest") return "first";
  if ("position" in from) return Number(from.position);
  // A stream finds the chunk; what lies before the time in it is left out here.
  return { "!": "timestamp", value: Math.floor(from.time / 1_000) };
}

function isBefore(from: StartPosition, position: number | undefined, time: number): boolean {
  if (typeof from === "string" || position === undefined) return false;
  return "position" in from ? position < Number(from.position) : time < from.time;
}
