import type { Attempt } from "./attempt.ts";
import { describeFailure } from "./cause.ts";
import type { Clock } from "./clock.ts";
import type { RequestContract } from "./contract.ts";
import { withDeadline } from "./deadline.ts";
import { isWaybillError, WaybillError } from "./errors.ts";
import type { Publishing } from "./publishing.ts";
import type { Delivery, Message, Subscription, Transport } from "./transport.ts";
import { createTimers, type TimerHandle } from "./timer-wheel.ts";
import type { Wire } from "./wire.ts";

/** A reply that tells of a failure carries these; never a stack. */
export const errorCodeHeader = "waybill-error";
export const errorTextHeader = "waybill-error-text";

/** The asking end: one inbox a bus, opened at the first request. */
export interface Requester {
  request(contract: RequestContract, body: unknown, options: RequestSettings): Promise<unknown>;
  close(): Promise<void>;
}

export interface RequestSettings {
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly headers: Readonly<Record<string, string>> | undefined;
}

export interface RequesterOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly publishing: Publishing;
  readonly wire: Wire;
  readonly nextId: () => string;
  readonly namespaced: (topic: string) => string;
  readonly mustBeOpen: () => void;
}

interface Pending {
  readonly contract: RequestContract;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: WaybillError) => void;
  readonly timer: TimerHandle;
  readonly timeoutMs: number;
  readonly unlisten: (() => void) | undefined;
}

/** Time-outs are that exact: one timer serves all requests. */
const timeoutTickMs = 10;
const closeMs = 5_000;
const inboxCredit = { messages: 10_000, bytes: 64 * 1024 * 1024 };

export function createRequester(options: RequesterOptions): Requester {
  const { transport, clock, publishing, wire, nextId } = options;
  const pending = new Map<string, Pending>();
  const closing = new AbortController();
  const timeouts = createTimers<string>(clock, timeoutTickMs, timedOut);
  let inbox: Promise<Subscription> | undefined;

  function open(): Promise<Subscription> {
    const opening = transport.subscribe({
      topic: undefined,
      pattern: undefined,
      group: undefined,
      from: "latest",
      credit: inboxCredit,
      leaseMs: 30_000,
      order: "none",
      inbox: true,
      native: undefined,
      signal: closing.signal,
      onEvent(event) {
        if (event.kind === "failed") failed(opening, event.error);
      },
    });
    opening
      .then(pump)
      .catch((error: unknown) =>
        failed(
          opening,
          isWaybillError(error) ? error : new WaybillError("TRANSPORT", `${transport.name}: the inbox failed`, { cause: error }),
        ),
      );
    return opening;
  }

  /** The next request opens another one; what waits on this one is told now. */
  function failed(which: Promise<Subscription>, error: WaybillError): void {
    if (inbox !== which) return;
    inbox = undefined;
    for (const id of [...pending.keys()]) settle(id, error);
  }

  async function pump(subscription: Subscription): Promise<void> {
    for await (const batch of subscription.deliveries()) {
      for (const delivery of batch) received(delivery);
      // The answers give the credit back, and say nothing else that matters here.
      subscription.settle(batch.map((delivery) => ({ kind: "ack", delivery }))).catch(() => undefined);
    }
  }

  function received({ message }: Delivery): void {
    const id = message.correlationId;
    const waiting = id === undefined ? undefined : pending.get(id);
    // A reply that came too late, or twice.
    if (id === undefined || waiting === undefined) return;
    const code = message.headers[errorCodeHeader];
    if (code !== undefined) return settle(id, remoteError(code, message.headers[errorTextHeader] ?? ""));
    void read(message, waiting.contract).then(
      (reply) => settle(id, undefined, reply),
      (error: unknown) =>
        settle(id, isWaybillError(error) ? error : new WaybillError("DECODE", "the reply cannot be read", { cause: error })),
    );
  }

  async function read(message: Message, contract: RequestContract): Promise<unknown> {
    return wire.decode(message, contract.reply);
  }

  function settle(id: string, error: WaybillError | undefined, reply?: unknown): void {
    const waiting = pending.get(id);
    if (waiting === undefined) return;
    pending.delete(id);
    timeouts.cancel(waiting.timer);
    waiting.unlisten?.();
    if (error === undefined) waiting.resolve(reply);
    else waiting.reject(error);
  }

  function timedOut(id: string): void {
    const waiting = pending.get(id);
    if (waiting === undefined) return;
    settle(id, new WaybillError("REQUEST_TIMEOUT", `no reply on "${waiting.contract.topic}" within ${waiting.timeoutMs} ms`));
  }

  async function request(contract: RequestContract, body: unknown, settings: RequestSettings): Promise<unknown> {
    options.mustBeOpen();
    const can = transport.capabilities(contract.topic);
    if (can.inbox.level === "none") throw new WaybillError("CAPABILITY", `${transport.name} has no request/reply on "${contract.topic}"`);
    if (settings.signal?.aborted === true) throw new WaybillError("ABORTED", "the caller's signal fired");
    const id = nextId();
    const answer = new Promise<unknown>((resolve, reject) => {
      const timer = timeouts.add(settings.timeoutMs, id);
      const onAbort = (): void => settle(id, new WaybillError("ABORTED", "the caller's signal fired", { certainty: "indefinite" }));
      settings.signal?.addEventListener("abort", onAbort, { once: true });
      pending.set(id, {
        contract,
        resolve,
        reject,
        timer,
        timeoutMs: settings.timeoutMs,
        unlisten: () => settings.signal?.removeEventListener("abort", onAbort),
      });
    });
    publish(id, contract, body, settings, clock.now() + settings.timeoutMs).catch((error: unknown) => settle(id, asRequestError(error)));
    return answer;
  }

  async function publish(
    id: string,
    contract: RequestContract,
    body: unknown,
    settings: RequestSettings,
    expiresAt: number,
  ): Promise<void> {
    const { address } = await (inbox ??= open());
    // Its time was over before there was an inbox.
    if (!pending.has(id)) return;
    const choices = settings.headers === undefined ? undefined : { headers: settings.headers };
    const addressing = { ...(address === undefined ? {} : { replyTo: address }), correlationId: id, expiresAt };
    const message = await publishing.build(contract.request, body, choices, undefined, addressing);
    await publishing.add(message, settings.signal);
  }

  return {
    request,
    async close() {
      closing.abort();
      timeouts.clear();
      for (const id of [...pending.keys()])
        settle(id, new WaybillError("CLOSED", "the bus was closed before the reply came", { certainty: "indefinite" }));
      const disposed = inbox?.then((open) => open[Symbol.asyncDispose]());
      if (disposed !== undefined) await withDeadline(disposed, closeMs, clock);
    },
  };
}

/** Nobody there to receive the request is nobody there to reply. */
function asRequestError(error: unknown): WaybillError {
  if (isWaybillError(error, "UNROUTABLE")) return new WaybillError("NO_RESPONDERS", "nobody replies on this topic", { cause: error });
  return isWaybillError(error) ? error : new WaybillError("TRANSPORT", "the request could not be published", { cause: error });
}

function remoteError(code: string, text: string): WaybillError {
  if (code === "NO_RESPONDERS") return new WaybillError("NO_RESPONDERS", "nobody replies on this topic");
  return new WaybillError("REMOTE", `the replying service failed with ${code.slice(0, 64)}: ${text.slice(0, 512)}`);
}

/** The answering end: publishes what the handler returns or, as code and text, what it threw. */
export async function answer(attempt: Attempt, contract: RequestContract, publishing: Publishing, work: () => unknown): Promise<void> {
  const { message } = attempt.item.delivery;
  let body: unknown;
  let failure: { readonly code: string; readonly text: string } | undefined;
  try {
    body = await work();
  } catch (error) {
    failure = describeFailure(error);
  }
  if (message.replyTo === undefined || attempt.ended) return;
  const addressing = {
    topic: message.replyTo,
    ...(message.correlationId === undefined ? {} : { correlationId: message.correlationId }),
    ...(message.expiresAt === undefined ? {} : { expiresAt: message.expiresAt }),
  };
  if (failure === undefined) {
    try {
      const reply = await publishing.build(contract.reply, body, undefined, undefined, addressing);
      await publishing.add({ ...reply, mandatory: false });
      return;
    } catch (error) {
      // The asker is gone: there is nobody to tell.
      if (isWaybillError(error, "NO_RESPONDERS") || isWaybillError(error, "UNROUTABLE")) return;
      failure = describeFailure(error);
    }
  }
  const headers = { [errorCodeHeader]: failure.code, [errorTextHeader]: failure.text };
  const told = await publishing.build({ ...contract.reply, schema: undefined }, {}, undefined, undefined, { ...addressing, headers });
  await publishing.add(told).catch(() => undefined);
}
