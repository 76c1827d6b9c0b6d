import { WaybillError, type Message, type PublishOutcome } from "@waybill/core";
import type { ConfirmChannel, Message as AmqpMessage } from "amqplib";
import { createBatch, createConfirms, settle, settleRest, type Batch, type Confirms } from "./confirms.ts";
import { answered } from "./deadline.ts";
import { plain } from "./failures.ts";
import type { Link } from "./link.ts";
import type { Names } from "./names.ts";
import { away, checkPriority, definite, lostBy, refuseAll, tooLargeFor, unroutable } from "./outcomes.ts";
import type { Settings } from "./options.ts";
import { toProperties, type Extra } from "./properties.ts";
import { createFrameWriter, fitsFrame, type FrameWriter } from "./publish-frames.ts";
import { routeOf, type Route } from "./route.ts";
import type { TopologyMaker } from "./topology.ts";

/** The writing end: one confirm channel, in call order. */
export interface Publisher {
  publish(messages: readonly Message[], signal: AbortSignal): Promise<readonly PublishOutcome[]>;
  /** A copy that the transport makes itself: to a queue by way of an exchange of ours. */
  copy(
    message: Message,
    to: { readonly exchange: string; readonly routingKey: string },
    extra: Extra,
    signal: AbortSignal,
  ): Promise<PublishOutcome>;
  up(link: Link): Promise<void>;
  down(reason: WaybillError): void;
  unblocked(): void;
  close(): void;
}

export interface PublisherOptions {
  readonly settings: Settings;
  readonly names: Names;
  readonly topology: TopologyMaker;
  readonly blocked: () => string | undefined;
}

/** Of one connection, or of one channel of it. */
interface Writing {
  readonly link: Link;
  readonly channel: ConfirmChannel;
  readonly confirms: Confirms;
  readonly frames: FrameWriter;
}

/** To be written, and held back: the broker is blocked, or something must be made first. */
interface Held {
  readonly batch: Batch;
  readonly routes: readonly (Route | undefined)[];
}

const reopenMs = 50;

export function createPublisher({ settings, names, topology, blocked }: PublisherOptions): Publisher {
  let writing: Writing | undefined;
  let state: "new" | "open" | "closed" = "new";
  let held: Held[] = [];
  let flushing = false;
  /** Those for whose group a queue was made. */
  const created = new WeakSet<Batch>();

  async function up(link: Link): Promise<void> {
    const channel = await answered("a channel to publish on", link.model.createConfirmChannel(), settings.replyTimeoutMs);
    const { ch } = channel as unknown as { readonly ch: number };
    const mine: Writing = { link, channel, confirms: createConfirms(), frames: createFrameWriter(ch, link.frameMax, link.write) };
    // The client's own count of confirms has nothing to count: it does not see what is written.
    channel.removeAllListeners("ack").removeAllListeners("nack");
    let said: Error | undefined;
    channel.on("error", (error: Error) => (said = error));
    channel.on("ack", ({ deliveryTag, multiple }: { deliveryTag: number; multiple: boolean }) =>
      mine.confirms.acked(deliveryTag, multiple),
    );
    channel.on("nack", ({ deliveryTag, multiple }: { deliveryTag: number; multiple: boolean }) =>
      mine.confirms.nacked(deliveryTag, multiple),
    );
    channel.on("return", (message: AmqpMessage) => returned(mine, message));
    channel.on("close", () => channelEnded(mine, said));
    writing = mine;
    state = state === "closed" ? "closed" : "open";
    void flush();
  }

  function channelEnded(mine: Writing, said: Error | undefined): void {
    const tooLarge = /larger than (?:configured )?max size (\d+)/.exec(said?.message ?? "");
    const limit = tooLarge === null ? Infinity : Number(tooLarge[1]);
    const cause = said === undefined ? undefined : plain(said);
    mine.confirms.lose((message) => {
      const size = message.body instanceof Uint8Array ? message.body.byteLength : 0;
      if (size > limit) return { ok: false, error: tooLargeFor(size, message.topic, limit) };
      return { ok: false, error: new WaybillError("CONNECTION_LOST", "the channel ended before the broker answered", { cause }) };
    });
    if (writing !== mine) return;
    writing = undefined;
    if (!mine.link.isOpen || state === "closed") return;
    // The connection lives: an exchange was gone, or a body was too large for this broker.
    topology.forget();
    setTimeout(() => {
      if (writing !== undefined || !mine.link.isOpen || state === "closed") return;
      topology.base().then(
        () => up(mine.link).catch((error: unknown) => mine.link.destroy(lostBy(error))),
        (error: unknown) => mine.link.destroy(lostBy(error)),
      );
    }, reopenMs);
  }

  function returned(mine: Writing, { properties, fields }: AmqpMessage): void {
    const place = mine.confirms.returned(String(properties.messageId), fields.routingKey);
    if (place === undefined) return;
    const { batch, index } = place;
    const message = batch.messages[index] as Message;
    if (message.group === undefined || fields.exchange !== names.toGroup || created.has(batch)) {
      settle(batch, index, { ok: false, error: unroutable(message) });
      return;
    }
    // Nobody has it: once the group's queue is there it is written again.
    const again = createBatch([message], ([outcome]) => settle(batch, index, outcome as PublishOutcome));
    created.add(again);
    topology.group(message.group, message.topic, undefined).then(
      () => enqueue(again),
      (error: unknown) => settle(again, 0, { ok: false, error: definite(error) }),
    );
  }

  function enqueue(batch: Batch): void {
    const routes = batch.messages.map((message, index) => {
      try {
        const size = message.body instanceof Uint8Array ? message.body.byteLength : 0;
        if (message.body !== null && !(message.body instanceof Uint8Array))
          throw new WaybillError("CONFIG", `body of a message for topic "${message.topic}": expected bytes or null`);
        if (size > settings.maxBodyBytes) throw tooLargeFor(size, message.topic, settings.maxBodyBytes);
        checkPriority(message, settings);
        return routeOf(message, names, settings);
      } catch (error) {
        settle(batch, index, { ok: false, error: definite(error) });
        return undefined;
      }
    });
    if (batch.left === 0) return;
    held.push({ batch, routes });
    void flush();
  }

  /** In call order: what must be made first holds up what comes after it. */
  async function flush(): Promise<void> {
    if (flushing) return;
    flushing = true;
    try {
      while (held.length > 0 && writing !== undefined && blocked() === undefined) {
        const next = held[0] as Held;
        const missing = next.batch.left === 0 ? undefined : topology.missing(next.routes);
        if (missing !== undefined) {
          await makeReady(next, missing);
          continue;
        }
        held.shift();
        if (next.batch.left > 0) write(writing, next);
      }
    } finally {
      flushing = false;
    }
  }

  async function makeReady(next: Held, missing: () => Promise<ReadonlyMap<Route, WaybillError>>): Promise<void> {
    const failed = await missing().catch((error: unknown) => definite(error));
    if (failed instanceof Error) {
      held = held.filter((each) => each !== next);
      settleRest(next.batch, () => ({ ok: false, error: failed }));
      return;
    }
    next.routes.forEach((route, index) => {
      const error = route === undefined ? undefined : failed.get(route);
      if (error !== undefined) settle(next.batch, index, { ok: false, error });
    });
  }

  function write(mine: Writing, { batch, routes }: Held): void {
    for (let index = 0; index < routes.length; index += 1) {
      const route = routes[index];
      if (route === undefined || batch.outcomes[index] !== undefined) continue;
      try {
        writeOne(mine, batch, index, route);
      } catch (error) {
        settle(batch, index, { ok: false, error: definite(error) });
      }
    }
    mine.frames.flush();
  }

  function writeOne(mine: Writing, batch: Batch, index: number, route: Route): void {
    const message = batch.messages[index] as Message;
    const { native } = route;
    const properties = toProperties(message, route.extra, native?.persistent ?? settings.persistent);
    if (route.mandatory) properties.mandatory = true;
    if (native !== undefined) {
      if (native.priority !== undefined) properties.priority = native.priority;
      if (native.type !== undefined) properties.type = native.type;
      if (native.appId !== undefined) properties.appId = native.appId;
      if (native.userId !== undefined) properties.userId = native.userId;
      if (native.headers !== undefined) Object.assign(properties.headers as object, native.headers);
    }
    if (!fitsFrame(properties, mine.link.frameMax))
      throw new WaybillError("CONFIG", `headers of a message for topic "${message.topic}": above a frame of ${mine.link.frameMax} bytes`);
    mine.frames.publish(route.exchange, route.routingKey, properties, toBuffer(message.body));
    mine.confirms.wrote(batch, index, route.mandatory ? route.routingKey : undefined);
  }

  return {
    publish(messages, signal) {
      if (signal.aborted) return refuseAll(messages, new WaybillError("ABORTED", "the caller's signal fired"));
      if (state === "closed") return refuseAll(messages, new WaybillError("CLOSED", "the transport is closed"));
      if (writing === undefined) return refuseAll(messages, away());
      return new Promise((resolve) => {
        const onAbort = (): void => {
          const unwritten = new Set(held.filter((each) => each.batch === batch));
          held = held.filter((each) => !unwritten.has(each));
          const certainty = unwritten.size > 0 ? "definite" : "indefinite";
          settleRest(batch, () => ({ ok: false, error: new WaybillError("ABORTED", "the caller's signal fired", { certainty }) }));
        };
        const batch = createBatch(messages, (outcomes) => {
          signal.removeEventListener("abort", onAbort);
          resolve(outcomes);
        });
        signal.addEventListener("abort", onAbort, { once: true });
        enqueue(batch);
      });
    },
    copy(message, to, extra, signal) {
      return new Promise((resolve) => {
        const batch = createBatch([message], ([outcome]) => resolve(outcome as PublishOutcome));
        if (writing === undefined) return settle(batch, 0, { ok: false, error: away() });
        const route: Route = {
          ...to,
          mandatory: false,
          native: undefined,
          extra,
          delayMs: undefined,
          foreign: undefined,
          group: undefined,
        };
        held.push({ batch, routes: [route] });
        signal.addEventListener(
          "abort",
          () => settleRest(batch, () => ({ ok: false, error: new WaybillError("PUBLISH_TIMEOUT", "no confirm in time") })),
          {
            once: true,
          },
        );
        void flush();
      });
    },
    up,
    down(reason) {
      const mine = writing;
      writing = undefined;
      mine?.confirms.lose(() => ({ ok: false, error: reason }));
      const unwritten = held;
      held = [];
      for (const { batch } of unwritten) settleRest(batch, () => ({ ok: false, error: away() }));
    },
    unblocked: () => void flush(),
    close() {
      state = "closed";
      const mine = writing;
      writing = undefined;
      mine?.confirms.lose(() => ({
        ok: false,
        error: new WaybillError("CLOSED", "closed before the broker answered", { certainty: "indefinite" }),
      }));
      const unwritten = held;
      held = [];
      for (const { batch } of unwritten)
        settleRest(batch, () => ({ ok: false, error: new WaybillError("CLOSED", "the transport is closed") }));
    },
  };
}

function toBuffer(body: unknown): Buffer {
  if (!(body instanceof Uint8Array)) return empty;
  return Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
}

const empty = Buffer.alloc(0);
