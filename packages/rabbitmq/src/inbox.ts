import { WaybillError, type Delivery, type SubscribeRequest } from "@waybill/core";
import type { Channel, ConsumeMessage } from "amqplib";
import type { Attached } from "./attached.ts";
import { answered } from "./deadline.ts";
import { replyError } from "./failures.ts";
import { createIntake } from "./intake.ts";
import type { Link } from "./link.ts";
import type { Settings } from "./options.ts";
import { toMessage } from "./properties.ts";

/** The pseudo queue of direct reply-to: its consumer has an address that any channel may reply to. */
const pseudoQueue = "amq.rabbitmq.reply-to";
const goodbyeMs = 2_000;
const nothing: Delivery[] = [];

export interface InboxOptions {
  readonly request: SubscribeRequest;
  readonly settings: Settings;
  readonly nextGeneration: () => number;
  readonly ended: (attached: Attached) => void;
}

/** An address of one connection: when that is lost so is the address, and whoever waits on it is told. */
export function createInbox({ request, settings, nextGeneration, ended: onEnded }: InboxOptions): Attached {
  let { credit } = request;
  let address: string | undefined;
  let channel: Channel | undefined;
  let link: Link | undefined;
  let ended = false;
  let waiting: ConsumeMessage[] = [];
  let missed = 0;
  const generation = nextGeneration();
  const what = "opening an inbox";
  const intake = createIntake(take, () => void leave());

  async function up(on: Link): Promise<void> {
    if (address !== undefined) return fail(new WaybillError("CONNECTION_LOST", "the reply address was lost with its connection"));
    const made = await answered(what, on.model.createChannel(), settings.replyTimeoutMs);
    made.on("error", () => undefined);
    made.on("close", () => {
      if (channel === made) fail(new WaybillError("CONNECTION_LOST", "the reply address was lost with its channel"));
    });
    try {
      await answered(what, made.consume(pseudoQueue, arrived, { noAck: true }), settings.replyTimeoutMs);
      address = await answered(what, learn(made), settings.replyTimeoutMs);
    } catch (error) {
      made.close().catch(() => undefined);
      throw replyError(error, what);
    }
    [channel, link] = [made, on];
  }

  /** The broker tells the address to nobody but the receiver of a request: one to ourselves shows it. */
  async function learn(on: Channel): Promise<string> {
    const { queue } = await on.assertQueue("", { exclusive: true, autoDelete: true, durable: false });
    on.sendToQueue(queue, Buffer.alloc(0), { replyTo: pseudoQueue });
    const probe = await on.get(queue, { noAck: true });
    await on.deleteQueue(queue);
    if (probe === false || typeof probe.properties.replyTo !== "string")
      throw new WaybillError("TRANSPORT", "the broker gave no reply address");
    return probe.properties.replyTo;
  }

  function arrived(message: ConsumeMessage | null): void {
    if (message === null) return fail(new WaybillError("CONNECTION_LOST", "the broker ended the inbox"));
    if (waiting.length >= credit.messages) {
      if (missed === 0) queueMicrotask(tellMissed);
      missed += 1;
      return;
    }
    waiting.push(message);
    intake.wake();
  }

  function tellMissed(): void {
    void request.onEvent({ kind: "gap", count: missed, reason: "replies came faster than they were read" });
    missed = 0;
  }

  function take(): readonly Delivery[] {
    if (waiting.length === 0) return nothing;
    const taken = waiting;
    waiting = [];
    return taken.map((raw) => ({
      message: toMessage(raw, address),
      attempt: undefined,
      position: undefined,
      part: "",
      generation,
      leaseMs: undefined,
      note: undefined,
      takenOver: false,
      handle: undefined,
    }));
  }

  function fail(error: WaybillError): void {
    if (ended) return;
    ended = true;
    void leave();
    void request.onEvent({ kind: "failed", error });
    intake.end();
    onEnded(attached);
  }

  async function leave(): Promise<void> {
    const open = channel;
    channel = undefined;
    if (open !== undefined && link?.isOpen === true) await answered("closing a channel", open.close(), goodbyeMs).catch(() => undefined);
  }

  const attached: Attached = {
    subscription: {
      get address() {
        return address;
      },
      deliveries: () => intake.deliveries,
      settle: async (settlements) => settlements.map(() => "done"),
      credit(next) {
        credit = next;
        intake.wake();
      },
      async [Symbol.asyncDispose]() {
        const first = !ended;
        ended = true;
        intake.end();
        if (!first) return;
        onEnded(attached);
        await leave();
      },
    },
    up,
    down() {
      channel = undefined;
      if (!ended) fail(new WaybillError("CONNECTION_LOST", "the reply address was lost with its connection"));
    },
    fail,
    waitingOf: () => 0,
    watched: undefined,
  };
  return attached;
}
