import { createBatcher } from "./batch.ts";
import { checkBusOptions } from "./bus-options.ts";
import type {
  BatchChoices,
  BatchHandler,
  Bus,
  BusOptions,
  BusStatus,
  Handler,
  PublishChoices,
  Published,
  PublishManyOutcome,
  ReplyHandler,
  SubscribeChoices,
  SubscriptionHandle,
} from "./bus-types.ts";
import { checkGuarantee, guaranteeOf, lacks } from "./capability.ts";
import { systemClock } from "./clock.ts";
import { bytes } from "./codec/bytes.ts";
import { json } from "./codec/json.ts";
import { createCodecs } from "./codec/registry.ts";
import { text } from "./codec/text.ts";
import { createConnection } from "./connection.ts";
import type { Contract, RequestContract } from "./contract.ts";
import { deadLetterTopic } from "./dead-letter.ts";
import type { DeadLetters } from "./dead-letter-types.ts";
import { createDeadLetters } from "./dead-letters.ts";
import { durationMs, type Duration } from "./duration.ts";
import { WaybillError } from "./errors.ts";
import { createIds } from "./id.ts";
import { silentLogger } from "./log.ts";
import { createMetrics } from "./metrics.ts";
import { createObserver } from "./observer.ts";
import { checkPattern, hasWildcard } from "./pattern.ts";
import { createPublisher } from "./publisher.ts";
import { createPublishing } from "./publishing.ts";
import { createRelays } from "./relays.ts";
import { answer, createRequester } from "./request.ts";
import { fixed } from "./retry.ts";
import type { Store } from "./store/store.ts";
import { readStream } from "./stream.ts";
import { createSubscriptions, type Definition } from "./subscriptions.ts";
import { transactWith } from "./transact.ts";
import type { Transport } from "./transport.ts";
import { createTurn } from "./turn.ts";
import { createWire } from "./wire.ts";

/**
 * The bus: contracts in, a transport below. Nothing connects before `start()`. Throws `CONFIG` with every wrong path.
 */
export function createBus<T extends Transport>(options: BusOptions<T>): Bus<T> {
  const settings = checkBusOptions(options);
  const { transport, name } = options;
  const clock = options.clock ?? systemClock;
  const turn = createTurn(clock);
  const nextId = createIds();
  const metrics = createMetrics();
  const observer = createObserver({ logger: options.logger ?? silentLogger, bus: name });
  const namespaced = (topic: string): string => (options.namespace === undefined ? topic : `${options.namespace}.${topic}`);
  let state: BusStatus["state"] = "new";
  let keepAlive: NodeJS.Timeout | undefined;
  let closing: Promise<void> | undefined;
  const drainOver = new AbortController();

  const publisher = createPublisher({
    transport,
    clock,
    turn,
    timeoutMs: settings.publishTimeoutMs,
    maxBuffered: settings.maxBuffered,
    maxBufferedBytes: settings.maxBufferedBytes,
    maxWaiting: settings.maxWaiting,
    backoff: fixed("100ms", { jitter: 0.5 }),
    published: (topic) => (metrics.topic(topic).published += 1),
    failed: (topic, error) => {
      metrics.topic(topic)[error.certainty === "definite" ? "publishFailed" : "publishUnknown"] += 1;
      observer.publishFailed(topic, error);
    },
  });
  const wire = createWire({
    bytes: transport.capabilities().body === "bytes",
    codecs: createCodecs([json, text, bytes, ...(options.codecs ?? [])]),
    compression:
      options.compression === undefined
        ? undefined
        : { encoding: options.compression.encoding, minBytes: options.compression.minBytes ?? 1024 },
    maxDecodedBytes: settings.maxDecodedBytes,
  });
  const publishing = createPublishing({
    transport,
    publisher,
    clock,
    nextId,
    wire,
    namespaced,
    middleware: options.publish?.middleware ?? [],
    mustBeOpen,
    refused: (topic) => (metrics.topic(topic).publishFailed += 1),
  });
  const connection = createConnection({
    transport,
    clock,
    connectTimeoutMs: settings.connectTimeoutMs,
    changed(status, reason) {
      publisher.online(status === "connected");
      if (status === "disconnected") metrics.bus.disconnects += 1;
      observer.status(transport.name, status, reason);
    },
  });
  const requester = createRequester({ transport, clock, publishing, wire, nextId, namespaced, mustBeOpen });
  const relays = createRelays({
    owner: `${name}/${nextId()}`,
    publisher,
    wire,
    clock,
    openTimeoutMs: settings.connectTimeoutMs,
    keepInboxMs: settings.keepInboxMs,
    joins: (store) => store.joins(transport),
    sent: (count) => (metrics.bus.relayed += count),
  });
  const subscriptions = createSubscriptions({
    transport,
    clock,
    turn,
    publisher,
    publishing,
    wire,
    metrics,
    observer,
    settings,
    namespaced,
    relays,
    middleware: options.middleware ?? [],
  });

  function mustBeOpen(): void {
    if (state === "started" || state === "starting") return;
    if (state === "new") throw new WaybillError("NOT_STARTED", `bus "${name}" is not started`);
    throw new WaybillError("CLOSED", `bus "${name}" is closed`);
  }

  function define(definition: Definition): SubscriptionHandle {
    if (state === "closing" || state === "closed") throw new WaybillError("CLOSED", `bus "${name}" is closed`);
    return subscriptions.add(definition, state === "started");
  }

  function subjectOf(target: Contract | string): Pick<Definition, "topic" | "pattern" | "contract"> {
    if (typeof target !== "string") return { topic: namespaced(target.topic), pattern: undefined, contract: target };
    checkPattern(target);
    const whole = namespaced(target);
    return hasWildcard(target)
      ? { topic: undefined, pattern: whole, contract: undefined }
      : { topic: whole, pattern: undefined, contract: undefined };
  }

  async function start({ signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    if (state !== "new") throw new WaybillError("CONFIG", `bus "${name}" was started before`, { remedy: "create a new bus" });
    state = "starting";
    // Core timers do not keep the process alive; a started bus does.
    keepAlive = setInterval(() => undefined, 2_147_483_647);
    try {
      checkGuarantee(transport, options.require ?? {});
      subscriptions.check();
      await connection.open(signal);
      checkGuarantee(transport, options.require ?? {});
      subscriptions.check();
      await subscriptions.topology(settings.topology);
      for (const store of options.outbox ?? []) relays.add(store);
      await relays.start();
      await subscriptions.start(signal);
      state = "started";
    } catch (error) {
      await close({ drain: 0 });
      throw error;
    }
  }

  /** A second call with a shorter drain shortens the first one's. */
  function close({ drain = "30s" }: { readonly drain?: Duration } = {}): Promise<void> {
    const timer = clock.after(durationMs(drain, "close.drain"), () => drainOver.abort());
    return (closing ??= shut()).finally(() => timer.cancel());
  }

  /** Intake first, then what handlers published, then the link: nothing is taken that could not be finished. */
  async function shut(): Promise<void> {
    const wasNew = state === "new";
    state = "closing";
    connection.giveUp();
    await subscriptions.stop(drainOver.signal);
    await relays.stop(drainOver.signal);
    await requester.close();
    await publisher.close(drainOver.signal);
    if (!wasNew) await connection.close();
    clearInterval(keepAlive);
    state = "closed";
  }

  async function publishMany(
    contract: Contract,
    bodies: readonly unknown[],
    choices: (PublishChoices & { readonly settle?: boolean }) | undefined,
  ): Promise<readonly unknown[]> {
    const { settle = false, ...rest } = choices ?? {};
    if (rest.id !== undefined && bodies.length > 1) throw new WaybillError("CONFIG", "publishMany.id: one id cannot name several messages");
    const results = await Promise.allSettled(
      bodies.map((body) => publishing.publish(contract, body, choices === undefined ? undefined : rest)),
    );
    const outcomes = results.map((result): PublishManyOutcome =>
      result.status === "fulfilled" ? { ok: true, message: result.value } : { ok: false, error: result.reason as WaybillError },
    );
    if (settle) return outcomes;
    const failed = outcomes.filter((outcome) => !outcome.ok);
    const first = failed[0];
    if (first === undefined || first.ok) return outcomes.map((outcome) => (outcome as { message: Published }).message);
    const certainty = failed.some((outcome) => !outcome.ok && outcome.error.certainty === "indefinite") ? "indefinite" : "definite";
    throw new WaybillError(first.error.code, `${failed.length} of ${bodies.length} messages failed, the first: ${first.error.message}`, {
      cause: first.error,
      certainty,
      outcomes,
    });
  }

  const bus = {
    name,
    transport,
    publish: (contract: Contract, body: unknown, choices?: PublishChoices) => publishing.publish(contract, body, choices),
    publishMany: (contract: Contract, bodies: readonly unknown[], choices?: PublishChoices & { readonly settle?: boolean }) =>
      publishMany(contract, bodies, choices),
    subscribe(target: Contract | string, choices: SubscribeChoices, handler: Handler<unknown>) {
      return define({ ...subjectOf(target), choices, kind: "single", handle: handler });
    },
    subscribeBatch(target: Contract, choices: BatchChoices, handler: BatchHandler<unknown>) {
      return define({ ...subjectOf(target), choices, kind: "batch", batcher: (parts) => createBatcher({ ...parts, handler }) });
    },
    reply(contract: RequestContract, choices: SubscribeChoices, handler: ReplyHandler<unknown, unknown>) {
      return define({
        ...subjectOf(contract.request),
        choices,
        kind: "reply",
        answer: (attempt, work) => answer(attempt, contract, publishing, work),
        handle: handler,
      });
    },
    request(
      contract: RequestContract,
      body: unknown,
      choices: { timeout?: Duration; signal?: AbortSignal; headers?: Record<string, string> } = {},
    ) {
      const timeoutMs = durationMs(choices.timeout ?? "10s", "request.timeout", { min: 1 });
      metrics.bus.requests += 1;
      return requester.request(contract, body, { timeoutMs, signal: choices.signal, headers: choices.headers });
    },
    stream(target: Contract | string, choices: { from?: "latest" | "earliest"; signal?: AbortSignal } = {}) {
      mustBeOpen();
      const subject = subjectOf(target);
      const from = choices.from ?? "latest";
      const can = transport.capabilities(subject.topic);
      if (can.reader.level === "none") throw lacks(transport, "reader", "stream", subject.topic);
      return readStream({ transport, wire, ...subject, from, signal: choices.signal ?? new AbortController().signal });
    },
    deadLetters(target: Contract | string, { group }: { group: string }): DeadLetters {
      const topic = namespaced(typeof target === "string" ? target : target.topic);
      return createDeadLetters({
        transport,
        publisher,
        clock,
        topic: deadLetterTopic(topic, namespaced(group)),
        group: namespaced(group),
        mustBeOpen,
      });
    },
    transact: (store: Store, work: (ctx: never) => Promise<unknown>) =>
      transactWith({ clock, store, transport, publishing, wire, mustBeOpen, relays }, work as never),
    start,
    close,
    status: (): BusStatus => {
      const { buffered, bufferedBytes, waiting } = publisher.stats();
      const all = subscriptions.status();
      return {
        state,
        transport: connection.status,
        healthy: state === "started" && connection.status === "connected" && all.every(({ healthy }) => healthy) && relays.healthy,
        publishing: { buffered, bufferedBytes, waiting },
        subscriptions: all,
      };
    },
    metrics: () => metrics.snapshot(),
    guarantee: (topic?: string) => guaranteeOf(transport.capabilities(topic)),
    [Symbol.asyncDispose]: () => close(),
  };
  // The typed face: inside, bodies are unknown until their schema has spoken.
  return bus as unknown as Bus<T>;
}
