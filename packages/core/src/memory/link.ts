import { createDeliveries } from "../deliveries.ts";
import { WaybillError } from "../errors.ts";
import type {
  ConnectOptions,
  Delivery,
  Lanes,
  Message,
  PublishOptions,
  PublishOutcome,
  Settlement,
  SettleOutcome,
  SubscribeRequest,
  Subscription,
  Transaction,
  Transport,
  TransportStatus,
} from "../transport.ts";
import type { Turn } from "../turn.ts";
import { freezeBody } from "./body.ts";
import { facesOf } from "./faces.ts";
import { createHeld, type HeldAnswer, type Loss } from "./held.ts";
import type { MemoryPublishNative, MemorySubscribeNative, Settings } from "./options.ts";
import { filled, refusedAll } from "./outcomes.ts";
import type { Attachment, CommitFault, Port, Shape, TransactionLink } from "./shape.ts";

export type MemoryTransport = Transport<MemoryPublishNative, MemorySubscribeNative>;

/** What a link needs to know of its broker. */
export interface Host {
  readonly settings: Settings;
  readonly shape: Shape;
  readonly turn: Turn;
  /** What goes out as `Transport.client`. */
  readonly client: unknown;
  readonly lanes: Lanes;
  isUp(): boolean;
  /** What a test holds back: the taking of publishes, or the answers to what was taken. */
  holds(): "publishes" | "confirms" | undefined;
  commitFault(): CommitFault | undefined;
  closed(link: Link): void;
}

/** A transport, and what can happen to its connection. */
export interface Link {
  readonly transport: MemoryTransport;
  /** The broker went away. */
  goDown(): void;
  comeUp(): void;
  /** Its process dies: from now on it hears and says nothing. */
  crash(): void;
  /** Nothing is held back any more. */
  unblock(): void;
}

interface Open {
  /** Undefined once it has ended: whoever still holds the subscription holds nothing else. */
  attachment: Attachment | undefined;
  readonly port: Port;
  readonly request: SubscribeRequest;
}

const nothing: Delivery[] = [];

export function createLink(host: Host, name: string): Link {
  const { settings, shape } = host;
  const subscriptions = new Set<Open>();
  const held = createHeld();
  let state: "new" | "up" | "down" | "dead" | "closed" = "new";
  let epoch = 0;
  let subscribed = 0;
  let onStatus: ConnectOptions["onStatus"] = () => undefined;

  /** While the broker stops, one link may be down already and another not yet. */
  function isUp(): boolean {
    return state === "up" && host.isUp();
  }

  function change(next: typeof state, status: TransportStatus, reason?: WaybillError): void {
    state = next;
    onStatus(status, reason);
  }

  async function connect(options: ConnectOptions): Promise<void> {
    if (state !== "new") throw new WaybillError("CLOSED", "connect: a transport is connected once");
    if (options.signal.aborted) throw new WaybillError("ABORTED", "the caller's signal fired");
    ({ onStatus } = options);
    onStatus("connecting");
    if (!host.isUp()) {
      const reason = away();
      onStatus("disconnected", reason);
      throw reason;
    }
    change("up", "connected");
  }

  async function close(): Promise<void> {
    if (state === "closed") return;
    for (const open of [...subscriptions]) end(open);
    held.loseAll("closed");
    host.closed(link);
    change("closed", "closed");
  }

  function publish(messages: readonly Message[], options: PublishOptions): Promise<readonly PublishOutcome[]> {
    if (options.signal.aborted) return refuse(messages, new WaybillError("ABORTED", "the caller's signal fired"));
    if (state === "closed") return refuse(messages, new WaybillError("CLOSED", "the transport is closed"));
    if (state === "new" || state === "down") return refuse(messages, away());
    const holds = state === "dead" ? "publishes" : host.holds();
    if (holds !== undefined) return publishLater(messages, options, holds);
    const outcomes = publishNow(messages, options.tx);
    return shape.isBehind() ? confirmLater(outcomes, options.signal) : Promise.resolve(outcomes);
  }

  /**
   * A publisher here waits for nothing outside the process: left alone it would fill the memory before a consumer had its turn.
   */
  async function confirmLater(outcomes: readonly PublishOutcome[], signal: AbortSignal): Promise<readonly PublishOutcome[]> {
    await host.turn.next();
    return state === "dead" ? held.hold(unheardOf(outcomes.length), signal) : outcomes;
  }

  function unheardOf(count: number): HeldAnswer<readonly PublishOutcome[]> {
    const lose = (why: Loss): readonly PublishOutcome[] => refusedAll(count, lossOf(why, "indefinite"));
    return { give: () => lose("disconnected"), lose };
  }

  function publishNow(messages: readonly Message[], tx: Transaction | undefined): readonly PublishOutcome[] {
    if (settings.freeze) for (const { body } of messages) freezeBody(body);
    return shape.publish(messages, tx);
  }

  function publishLater(
    messages: readonly Message[],
    { signal, tx }: PublishOptions,
    holds: "publishes" | "confirms",
  ): Promise<readonly PublishOutcome[]> {
    const outcomes = holds === "confirms" ? publishNow(messages, tx) : undefined;
    // A blocked broker says so, and nothing is written to it. A broken connection says nothing about what was on its way.
    const lose = (why: Loss): readonly PublishOutcome[] => {
      const sure = outcomes === undefined && why !== "disconnected" && state !== "dead";
      return refusedAll(messages.length, lossOf(why, sure ? "definite" : "indefinite"));
    };
    return held.hold({ give: () => outcomes ?? publishNow(messages, tx), lose }, signal);
  }

  async function subscribe(request: SubscribeRequest): Promise<Subscription> {
    await reach(request.signal);
    subscribed += 1;
    let { credit } = request;
    const intake = createDeliveries({ turn: host.turn, take: () => (isUp() ? open.attachment?.take() : undefined) ?? nothing });
    const port: Port = {
      id: `${name}/${subscribed}`,
      get credit() {
        return credit;
      },
      get waiting() {
        return intake.waiting && isUp();
      },
      wake: intake.wake,
      end: intake.end,
    };
    const open: Open = { attachment: undefined, port, request };
    open.attachment = shape.attach(request, port);
    subscriptions.add(open);
    return {
      address: open.attachment.address,
      deliveries: () => intake.deliveries,
      settle: (settlements, options) => settle(open, settlements, options?.tx),
      credit(next) {
        credit = next;
        port.wake();
      },
      async [Symbol.asyncDispose]() {
        end(open);
      },
    };
  }

  function settle(
    { attachment }: Open,
    settlements: readonly Settlement[],
    tx: Transaction | undefined,
  ): Promise<readonly SettleOutcome[]> {
    const count = settlements.length;
    if (state === "dead") return held.hold({ give: () => filled(count, "unknown"), lose: () => filled(count, "unknown") });
    // What it held went back when it ended, or when the connection broke.
    if (state !== "up" || attachment === undefined) return Promise.resolve(filled(count, "lost"));
    let outcomes: readonly SettleOutcome[];
    try {
      outcomes = attachment.settle(settlements, tx);
    } catch (error) {
      return Promise.reject(error);
    }
    if (host.holds() !== "confirms") return Promise.resolve(outcomes);
    return held.hold({ give: () => outcomes, lose: () => filled(count, "unknown") });
  }

  function end(open: Open): void {
    if (!subscriptions.delete(open)) return;
    const { attachment, port } = open;
    open.attachment = undefined;
    port.end();
    if (state !== "dead") attachment?.leave();
  }

  /** Resolves when the broker can be asked. A dead link never learns that it cannot. */
  async function reach(signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) throw new WaybillError("ABORTED", "the caller's signal fired");
    if (state === "dead") throw await held.hold({ give: away, lose: (why) => lossOf(why, "definite") }, signal);
    if (state === "closed") throw new WaybillError("CLOSED", "the transport is closed");
    if (state !== "up") throw away();
  }

  async function ask<T>(answer: () => T, signal?: AbortSignal): Promise<T> {
    await reach(signal);
    return answer();
  }

  /** Of the connection as it is now: when that breaks, the transaction ends with it. */
  function transactionLink(): TransactionLink {
    const began = epoch;
    return { isUp: () => state === "up" && epoch === began, commitFault: host.commitFault };
  }

  const transport: MemoryTransport = {
    name: settings.shape === "queue" ? "memory" : `memory-${settings.shape}`,
    client: host.client,
    lanes: host.lanes,
    capabilities: () => shape.capabilities,
    connect,
    close,
    publish,
    subscribe,
    ...facesOf(shape, ask, transactionLink),
  };
  const link: Link = {
    transport,
    goDown() {
      if (state !== "up") return;
      epoch += 1;
      change("down", "disconnected", new WaybillError("CONNECTION_LOST", "the broker went away"));
      for (const { attachment } of [...subscriptions]) attachment?.drop(false);
      held.loseAll("disconnected");
    },
    comeUp() {
      if (state !== "down") return;
      onStatus("connecting");
      change("up", "connected");
      for (const open of [...subscriptions]) resume(open);
    },
    crash() {
      if (state !== "up" && state !== "down") return;
      const wasUp = state === "up";
      epoch += 1;
      state = "dead";
      if (wasUp) for (const { attachment } of subscriptions) attachment?.drop(true);
    },
    unblock() {
      if (state === "up") held.giveAll();
    },
  };

  function resume(open: Open): void {
    try {
      open.attachment?.resume();
      open.port.wake();
    } catch (error) {
      void open.request.onEvent({ kind: "failed", error: error as WaybillError });
      end(open);
    }
  }

  return link;
}

function refuse(messages: readonly Message[], error: WaybillError): Promise<readonly PublishOutcome[]> {
  return Promise.resolve(refusedAll(messages.length, error));
}

function away(): WaybillError {
  return new WaybillError("CONNECTION", "the broker cannot be reached");
}

function lossOf(why: Loss, certainty: "definite" | "indefinite"): WaybillError {
  switch (why) {
    case "aborted":
      return new WaybillError("ABORTED", "the caller's signal fired", { certainty });
    case "disconnected":
      return new WaybillError("CONNECTION_LOST", "the broker went away before it answered", { certainty });
    case "closed":
      return new WaybillError("CLOSED", "the transport was closed before the broker answered", { certainty });
  }
}
