import type { Clock } from "./clock.ts";
import type { Codec } from "./codec/codec.ts";
import type { Contract, RequestContract } from "./contract.ts";
import type { DeadLetters } from "./dead-letter-types.ts";
import type { Duration } from "./duration.ts";
import type { WaybillError } from "./errors.ts";
import type { Logger } from "./log.ts";
import type { Profile } from "./config.ts";
import type { RetryOptions } from "./retry.ts";
import type { Store } from "./store/store.ts";
import type { Durability, Headers, Message, Position, StartPosition, Transport, TransportStatus } from "./transport.ts";
import type { MetricsSnapshot } from "./metrics.ts";

type PublishNativeOf<T extends Transport> = NonNullable<T["~native"]>["publish"];
type SubscribeNativeOf<T extends Transport> = NonNullable<T["~native"]>["subscribe"];

export interface PublishChoices<Native = unknown> {
  /** Own id, for repeats that must be recognised. Default: a new one. */
  readonly id?: string;
  readonly key?: string;
  /** Lower-case names; `waybill-…` and `traceparent` are kept for Waybill. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Not delivered before. Capability `delay`. */
  readonly delay?: Duration;
  /** Not delivered after. Capability `expiry`. */
  readonly expiresIn?: Duration;
  /** 0 to 9. Capability `priority`. */
  readonly priority?: number;
  readonly correlationId?: string;
  /** Gives up waiting: `ABORTED` (not sent) or an indefinite error (on its way). */
  readonly signal?: AbortSignal;
  readonly native?: Native;
}

/** What was published, without its body. */
export type Published = Omit<Message, "body" | "native">;
export type PublishManyOutcome = { readonly ok: true; readonly message: Published } | { readonly ok: false; readonly error: WaybillError };

/** What the user requires of the transport; what it cannot give is refused at start, `CAPABILITY`. */
export interface Guarantee {
  readonly delivery: "at-most-once" | "at-least-once";
  readonly durability: Durability;
  readonly order: "none" | "key";
  readonly effect: "none" | "exactly-once";
}

export type OrderBy = "none" | "key" | "key-in-process";

export interface SubscribeChoices<Tx = unknown, Native = unknown> {
  /** Its members share the messages. */
  readonly group: string;
  /** Handlers (of `subscribeBatch`: batches) at once. Default 1. */
  readonly concurrency?: number;
  readonly orderBy?: OrderBy;
  /** Per attempt. Default 30 s. */
  readonly timeout?: Duration;
  /** How long a timed-out handler may go on before its slot is given away. Default 5 s. */
  readonly grace?: Duration;
  /** Abandoned handlers that still run; above it intake stops and health turns false. Default: `concurrency`. */
  readonly maxAbandoned?: number;
  readonly retry?: RetryOptions;
  /** Where a new group starts. Default `latest`. */
  readonly from?: StartPosition;
  /** Messages and bytes in hand at most. Defaults: 4 × concurrency, at least 200; 32 MiB. */
  readonly credit?: { readonly messages?: number; readonly bytes?: number };
  /** Of a delivery, where the transport has leases. Default 30 s. */
  readonly lease?: Duration;
  /** `at-most-once` has to be asked for by name where the transport cannot do better. Default `at-least-once`. */
  readonly delivery?: "at-most-once" | "at-least-once";
  /** The handler's writes by `ctx.tx`, the inbox row and what it publishes commit together. `"transport"`: the transport's own transaction. */
  readonly exactlyOnce?: Store<Tx> | "transport";
  /** Handler calls per second at most. */
  readonly rateLimit?: { readonly perSecond: number; readonly burst?: number };
  /** Stops handing out after repeated failures and tries again later. */
  readonly circuitBreaker?: {
    readonly failureRate?: number;
    readonly window?: number;
    readonly openFor?: Duration;
    readonly trials?: number;
  };
  readonly middleware?: readonly HandleMiddleware[];
  readonly native?: Native;
}

export interface BatchChoices<Tx = unknown, Native = unknown> extends SubscribeChoices<Tx, Native> {
  /** Messages of one call at most. Default: the profile's batch size. */
  readonly size?: number;
  /** How long the first message waits for others. Default 50 ms. */
  readonly within?: Duration;
}

export interface Context<Tx = unknown> {
  readonly message: Published;
  readonly group: string;
  /** Of this message in this group, as far as known: 1 for the first. */
  readonly attempt: number;
  readonly position: Position | undefined;
  /** Fires at the time-out, when the delivery is lost, and when a drain's time is over. */
  readonly signal: AbortSignal;
  /** Of `exactlyOnce`: the user's transaction. The lock or connection is taken at its first use. */
  readonly tx: Tx;
  /** Publishes with this message's correlation and trace. With `exactlyOnce`: after the commit. */
  publish<Input, Output>(contract: Contract<Input, Output>, body: Input, options?: PublishChoices): Promise<Published>;
  /** Records the verdict and throws to unwind; swallowing the throw changes nothing. */
  retry(options?: { readonly after?: Duration; readonly reason?: string }): never;
  /** Records the verdict and throws to unwind. */
  deadLetter(reason: string): never;
}

export interface BatchItem<Body> {
  readonly body: Body;
  readonly message: Published;
  readonly attempt: number;
}
export interface BatchContext<Tx = unknown> {
  readonly group: string;
  readonly signal: AbortSignal;
  readonly tx: Tx;
  publish<Input, Output>(contract: Contract<Input, Output>, body: Input, options?: PublishChoices): Promise<Published>;
}
/** Those in `failed` (items of the batch) are retried each by itself; all others are acknowledged. */
export type BatchResult<Body> = void | { readonly failed: readonly BatchItem<Body>[] };

export type Handler<Body, Tx = unknown> = (body: Body, ctx: Context<Tx>) => unknown;
export type BatchHandler<Body, Tx = unknown> = (
  batch: readonly BatchItem<Body>[],
  ctx: BatchContext<Tx>,
) => BatchResult<Body> | Promise<BatchResult<Body>>;
export type ReplyHandler<Body, Reply> = (body: Body, ctx: Context) => Reply | Promise<Reply>;

/** `(call, next)`: return `next(call)`. Composed once at start. */
export type HandleMiddleware = (call: HandlerCall, next: (call: HandlerCall) => unknown) => unknown;
export interface HandlerCall {
  body: unknown;
  readonly ctx: Context;
}
export type PublishMiddleware = (call: PublishCall, next: (call: PublishCall) => Promise<Published>) => Promise<Published>;
export interface PublishCall {
  readonly contract: Contract;
  body: unknown;
  options: PublishChoices;
}

export type SubscriptionState = "idle" | "starting" | "running" | "paused" | "draining" | "stopped" | "failed";
export interface SubscriptionStatus {
  readonly state: SubscriptionState;
  readonly topic: string;
  readonly group: string;
  /** Handlers that run now. */
  readonly running: number;
  /** In hand and not settled. */
  readonly unsettled: number;
  readonly abandoned: number;
  readonly healthy: boolean;
  readonly error: WaybillError | undefined;
}

export interface SubscriptionHandle extends AsyncDisposable {
  /** Resolves when every message published from now on will arrive; rejects if it cannot be started. */
  readonly ready: Promise<void>;
  pause(): void;
  resume(): void;
  /** Stops intake, lets handlers finish until `drain` (default 30 s) is over, settles, releases the rest. */
  stop(options?: { readonly drain?: Duration }): Promise<void>;
  status(): SubscriptionStatus;
}

export interface StreamItem<Body> {
  readonly body: Body;
  readonly message: Published;
  readonly position: Position | undefined;
}

export interface BusStatus {
  readonly state: "new" | "starting" | "started" | "closing" | "closed";
  readonly transport: TransportStatus;
  readonly healthy: boolean;
  readonly publishing: { readonly buffered: number; readonly bufferedBytes: number; readonly waiting: number };
  readonly subscriptions: readonly SubscriptionStatus[];
}

export interface BusOptions<T extends Transport = Transport> {
  /** Of the service: part of reply addresses and of what others see. */
  readonly name: string;
  readonly transport: T;
  readonly profile?: Profile;
  /** Prefixes every topic and group that the bus makes: `namespace.topic`. */
  readonly namespace?: string;
  readonly topology?: "declare" | "check" | "none";
  readonly require?: Partial<Guarantee>;
  readonly publish?: {
    /** Until a confirm. Default 30 s. */
    readonly timeout?: Duration;
    /** Messages and bytes that wait for the broker. Defaults 10,000 and 32 MiB. */
    readonly maxBuffered?: number;
    readonly maxBufferedBytes?: number;
    /** Callers that wait for room; beyond it `BUFFER_FULL`. Default 10,000. */
    readonly maxWaiting?: number;
    readonly middleware?: readonly PublishMiddleware[];
  };
  /** For every subscription; its own come after these. */
  readonly middleware?: readonly HandleMiddleware[];
  readonly connectTimeout?: Duration;
  readonly codecs?: readonly Codec[];
  readonly compression?: { readonly encoding: "gzip" | "br" | "zstd"; readonly minBytes?: number };
  /** What one body may become when unpacked. Default 64 MiB. */
  readonly maxDecodedBytes?: number;
  /** Outbox rows of these stores are sent by this bus. Stores of `exactlyOnce` are added by themselves. */
  readonly outbox?: readonly Store[];
  /** How long inbox rows are kept; a repeat that comes later is applied again. Default 7 days. */
  readonly keepInbox?: Duration;
  readonly clock?: Clock;
  readonly logger?: Logger;
}

export interface Bus<T extends Transport = Transport> extends AsyncDisposable {
  readonly name: string;
  readonly transport: T;
  /** Resolves when the transport has confirmed it. Validates; rejects with one `WaybillError`. */
  publish<Input, Output>(contract: Contract<Input, Output>, body: Input, options?: PublishChoices<PublishNativeOf<T>>): Promise<Published>;
  /** Rejects with all outcomes (`error.outcomes`) unless every one is ok; with `settle: true` resolves with them. */
  publishMany<Input, Output>(
    contract: Contract<Input, Output>,
    bodies: readonly Input[],
    options: PublishChoices<PublishNativeOf<T>> & { readonly settle: true },
  ): Promise<readonly PublishManyOutcome[]>;
  publishMany<Input, Output>(
    contract: Contract<Input, Output>,
    bodies: readonly Input[],
    options?: PublishChoices<PublishNativeOf<T>>,
  ): Promise<readonly Published[]>;
  /** Return = ack, throw = the retry policy. A string is a topic or a pattern, and its bodies are not validated. */
  subscribe<Input, Output, Tx = unknown>(
    contract: Contract<Input, Output>,
    options: SubscribeChoices<Tx, SubscribeNativeOf<T>>,
    handler: Handler<Output, Tx>,
  ): SubscriptionHandle;
  subscribe<Tx = unknown>(
    pattern: string,
    options: SubscribeChoices<Tx, SubscribeNativeOf<T>>,
    handler: Handler<unknown, Tx>,
  ): SubscriptionHandle;
  subscribeBatch<Input, Output, Tx = unknown>(
    contract: Contract<Input, Output>,
    options: BatchChoices<Tx, SubscribeNativeOf<T>>,
    handler: BatchHandler<Output, Tx>,
  ): SubscriptionHandle;
  reply<Input, Output, ReplyInput, ReplyOutput>(
    contract: RequestContract<Input, Output, ReplyInput, ReplyOutput>,
    options: SubscribeChoices<unknown, SubscribeNativeOf<T>>,
    handler: ReplyHandler<Output, ReplyInput>,
  ): SubscriptionHandle;
  /** Rejects with `REQUEST_TIMEOUT`, `NO_RESPONDERS` or `REMOTE`. Default time-out 10 s. */
  request<Input, Output, ReplyInput, ReplyOutput>(
    contract: RequestContract<Input, Output, ReplyInput, ReplyOutput>,
    body: Input,
    options?: { readonly timeout?: Duration; readonly signal?: AbortSignal; readonly headers?: Readonly<Record<string, string>> },
  ): Promise<ReplyOutput>;
  /** Reads, and takes nothing from anybody. */
  stream<Input, Output>(
    contract: Contract<Input, Output> | string,
    options?: { readonly from?: StartPosition; readonly signal?: AbortSignal },
  ): AsyncIterable<StreamItem<Output>>;
  deadLetters<Input, Output>(contract: Contract<Input, Output> | string, options: { readonly group: string }): DeadLetters;
  /** The work's writes and what it publishes commit together: the outbox for code that is no handler. */
  transact<Tx, Result>(
    store: Store<Tx>,
    work: (ctx: {
      readonly tx: Tx;
      publish<Input, Output>(contract: Contract<Input, Output>, body: Input, options?: PublishChoices): Promise<Published>;
    }) => Promise<Result>,
  ): Promise<Result>;
  /** Keeps trying while the broker is away; wrong credentials, TLS, configuration or capability end it at once. */
  start(options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** Stops intake, drains handlers and publishes until `drain` (default 30 s) is over, closes. Harmless twice. */
  close(options?: { readonly drain?: Duration }): Promise<void>;
  status(): BusStatus;
  metrics(): MetricsSnapshot;
  /** What holds for this topic, by the transport's own word. */
  guarantee(topic?: string): Guarantee;
}

export type { Headers };
