import type { Attempt, AttemptHost } from "./attempt.ts";
import type { Batcher, BatcherOptions } from "./batch.ts";
import type {
  BatchChoices,
  Handler,
  HandleMiddleware,
  HandlerCall,
  PublishChoices,
  SubscribeChoices,
  SubscriptionHandle,
  SubscriptionStatus,
} from "./bus-types.ts";
import type { BusSettings } from "./bus-options.ts";
import { checkPlan } from "./capability.ts";
import type { Clock } from "./clock.ts";
import { createConsumer, type Consumer } from "./consumer.ts";
import type { Contract } from "./contract.ts";
import { deadLetterTopic } from "./dead-letter.ts";
import { durationMs } from "./duration.ts";
import { WaybillError } from "./errors.ts";
import { concludeSingle, createExactlyOnce, type ExactlyOnce } from "./exactly-once.ts";
import { gatesOf } from "./gates.ts";
import type { Metrics } from "./metrics.ts";
import { compose } from "./middleware.ts";
import type { Observer } from "./observer.ts";
import type { Plan } from "./plan.ts";
import type { Publisher } from "./publisher.ts";
import type { Parent, Publishing } from "./publishing.ts";
import type { Relays } from "./relays.ts";
import { planOf } from "./subscription-options.ts";
import { deadLetterGroup, type Message, type Subscription, type Transport } from "./transport.ts";
import type { Turn } from "./turn.ts";
import type { Wire } from "./wire.ts";

/** What the user asked for with `subscribe`, `subscribeBatch` or `reply`. */
export type Definition = {
  readonly topic: string | undefined;
  readonly pattern: string | undefined;
  readonly contract: Contract | undefined;
} & (
  | { readonly kind: "single"; readonly choices: SubscribeChoices; readonly handle: Handler<unknown> }
  | { readonly kind: "batch"; readonly choices: BatchChoices; readonly batcher: (parts: Omit<BatcherOptions, "handler">) => Batcher }
  | {
      readonly kind: "reply";
      readonly choices: SubscribeChoices;
      readonly handle: Handler<unknown>;
      readonly answer: (attempt: Attempt, work: () => unknown) => Promise<void>;
    }
);

export interface Subscriptions {
  add(definition: Definition, started: boolean): SubscriptionHandle;
  /** Throws `CAPABILITY` for what the transport cannot do. */
  check(): void;
  topology(mode: BusSettings["topology"]): Promise<void>;
  start(signal: AbortSignal | undefined): Promise<void>;
  stop(drainOver: AbortSignal): Promise<void>;
  status(): readonly SubscriptionStatus[];
}

export interface SubscriptionsOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly turn: Turn;
  readonly publisher: Publisher;
  readonly publishing: Publishing;
  readonly wire: Wire;
  readonly metrics: Metrics;
  readonly observer: Observer;
  readonly settings: BusSettings;
  readonly namespaced: (name: string) => string;
  readonly relays: Relays;
  readonly middleware: readonly HandleMiddleware[];
}

interface Entry {
  readonly plan: Plan;
  readonly consumer: Consumer;
  readonly handle: SubscriptionHandle;
  begun: boolean;
  readonly start: (signal: AbortSignal) => Promise<void>;
}

export function createSubscriptions(options: SubscriptionsOptions): Subscriptions {
  const { transport, clock, publishing, wire, metrics, settings } = options;
  const entries = new Set<Entry>();

  function add(definition: Definition, started: boolean): SubscriptionHandle {
    const entry = build(definition);
    if (started) {
      checkPlan(transport, entry.plan);
      prepare(entry.plan)
        .then(
          () => entry.start(new AbortController().signal),
          (error: unknown) => entry.start(AbortSignal.abort(error)),
        )
        // `ready` and the status tell of it.
        .catch(() => undefined);
    }
    entries.add(entry);
    return entry.handle;
  }

  async function prepare(plan: Plan): Promise<void> {
    if (typeof plan.exactlyOnce === "object") await options.relays.ensure(plan.exactlyOnce);
    await applyTopology([plan], settings.topology);
  }

  function build(definition: Definition): Entry {
    const name = definition.topic ?? definition.pattern ?? "";
    const choices = definition.kind === "reply" ? replyChoices(definition.choices) : definition.choices;
    const subject = { topic: definition.topic, pattern: definition.pattern, contract: definition.contract };
    const plan = planOf(subject, choices, `subscribe("${name}")`, {
      ...settings.profile,
      group: options.namespaced,
      batch: definition.kind === "batch",
    });
    let current: Subscription | undefined;
    const exactlyOnce = exactlyOnceOf(plan, () => current);
    const host = hostOf(plan, exactlyOnce);
    const consumer = createConsumer({
      ...options,
      plan,
      host,
      counters: metrics.group(name, plan.group),
      gates: gatesOf(choices, clock),
      run: runOf(definition, plan, exactlyOnce),
      applied: exactlyOnce?.applied,
      opened: (subscription) => (current = subscription),
    });
    return entryOf(plan, consumer);
  }

  function entryOf(plan: Plan, consumer: Consumer): Entry {
    const started = Promise.withResolvers<void>();
    // Whoever awaits `ready` hears of it; whoever does not sees it in the status.
    started.promise.catch(() => undefined);
    const handle: SubscriptionHandle = {
      ready: started.promise,
      pause: () => consumer.pause(),
      resume: () => consumer.resume(),
      async stop({ drain = "30s" } = {}) {
        entries.delete(entry);
        const over = new AbortController();
        const timer = clock.after(durationMs(drain, "stop.drain"), () => over.abort());
        await consumer.stop(over.signal);
        timer.cancel();
        started.reject(new WaybillError("CLOSED", "the subscription was stopped"));
      },
      status: () => consumer.status(),
      [Symbol.asyncDispose]: () => handle.stop(),
    };
    const entry: Entry = {
      plan,
      consumer,
      handle,
      begun: false,
      async start(signal) {
        entry.begun = true;
        try {
          if (signal.aborted) throw signal.reason;
          await consumer.start(signal);
          started.resolve();
        } catch (error) {
          started.reject(error);
          throw error;
        }
      },
    };
    return entry;
  }

  function exactlyOnceOf(plan: Plan, subscription: () => Subscription | undefined): ExactlyOnce | undefined {
    if (plan.exactlyOnce === undefined) return undefined;
    const store = plan.exactlyOnce;
    if (store !== "transport") options.relays.add(store);
    return createExactlyOnce({
      store,
      transport,
      clock,
      subscription,
      scopeOf: (message) => `${plan.group}|${message.topic}`,
      toBytes: wire.toBytes,
    });
  }

  function hostOf(plan: Plan, exactlyOnce: ExactlyOnce | undefined): AttemptHost {
    return {
      group: plan.group,
      publish(attempt: Attempt, contract: Contract, body: unknown, choices: PublishChoices | undefined) {
        const parent = parentOf(attempt.item.delivery.message);
        if (exactlyOnce === undefined) return publishing.publish(contract, body, choices, parent);
        return publishing.publishInto((message) => exactlyOnce.enqueue(attempt, message), contract, body, choices, parent);
      },
      tx(attempt) {
        if (exactlyOnce === undefined) {
          throw new WaybillError("CAPABILITY", "ctx.tx needs exactlyOnce", {
            remedy: "set exactlyOnce to a store in the subscription's options",
          });
        }
        return exactlyOnce.tx(attempt);
      },
    };
  }

  function runOf(definition: Definition, plan: Plan, exactlyOnce: ExactlyOnce | undefined): (attempt: Attempt) => unknown {
    const middleware = [...options.middleware, ...(definition.choices.middleware ?? [])];
    const { contract } = definition;
    const inner = innerOf(definition, plan, exactlyOnce);
    const around =
      middleware.length === 0 ? undefined : compose<HandlerCall, unknown>(middleware, (call) => inner(call.body, call.ctx as Attempt));
    const call = around === undefined ? inner : (body: unknown, ctx: Attempt): unknown => around({ body, ctx });
    const handle = (attempt: Attempt): unknown => {
      const body = wire.decode(attempt.item.delivery.message, contract);
      return body instanceof Promise ? callLater(body, attempt) : call(body, attempt);
    };
    // A function of its own: a closure there would cost every message a context.
    const callLater = async (body: Promise<unknown>, attempt: Attempt): Promise<unknown> => call(await body, attempt);
    if (definition.kind === "reply") return (attempt) => definition.answer(attempt, () => handle(attempt));
    if (exactlyOnce === undefined || definition.kind === "batch") return handle;
    return (attempt) => exactlyOnce.run([attempt], () => handle(attempt)).then(concludeSingle);
  }

  function innerOf(definition: Definition, plan: Plan, exactlyOnce: ExactlyOnce | undefined): (body: unknown, attempt: Attempt) => unknown {
    if (definition.kind !== "batch") return definition.handle;
    const batcher = definition.batcher({ clock, size: plan.batchSize, withinMs: plan.withinMs, group: plan.group, exactlyOnce });
    return (body, attempt) => batcher.add(attempt, body);
  }

  async function applyTopology(plans: readonly Plan[], mode: BusSettings["topology"]): Promise<void> {
    const wanted = plans.flatMap(({ topic, group, retry }) =>
      topic === undefined || transport.capabilities(topic).topology.level === "none"
        ? []
        : [{ topic, group, deadLetter: retry.deadLetter }],
    );
    if (mode === "none" || wanted.length === 0) return;
    const dead = wanted
      .filter(({ topic, deadLetter }) => deadLetter && transport.capabilities(topic).publishToGroup.level !== "none")
      .map(({ topic, group }) => ({ topic: deadLetterTopic(topic, group), group: deadLetterGroup }));
    if (mode === "declare") {
      // The groups themselves come into being when they subscribe, which is where their start position is known.
      await transport.declare?.({ topics: [...wanted.map(({ topic }) => topic), ...dead.map(({ topic }) => topic)], groups: dead });
      return;
    }
    const missing =
      (await transport.check?.({
        topics: wanted.map(({ topic }) => topic),
        groups: [...wanted.map(({ topic, group }) => ({ topic, group })), ...dead],
      })) ?? [];
    if (missing.length > 0) throw new WaybillError("TOPOLOGY", `missing: ${missing.join(", ")}`);
  }

  function notBegun(): Entry[] {
    return [...entries].filter(({ begun }) => !begun);
  }

  return {
    add,
    check() {
      for (const { plan } of entries) checkPlan(transport, plan);
    },
    topology: (mode) =>
      applyTopology(
        [...entries].map(({ plan }) => plan),
        mode,
      ),
    async start(signal) {
      const until = signal ?? new AbortController().signal;
      // Those that are added while these start are started too.
      for (let waiting = notBegun(); waiting.length > 0; waiting = notBegun())
        await Promise.all(waiting.map((entry) => entry.start(until)));
    },
    async stop(drainOver) {
      await Promise.all([...entries].map(({ consumer }) => consumer.stop(drainOver)));
    },
    status: () => [...entries].map(({ consumer }) => consumer.status()),
  };
}

/** A failed request is told to the asker, who decides whether to ask again; nothing of it is kept. */
function replyChoices(choices: SubscribeChoices): SubscribeChoices {
  return { delivery: "at-most-once", ...choices, retry: { ...choices.retry, attempts: 1, deadLetter: false } };
}

function parentOf(message: Message): Parent {
  return { correlationId: message.correlationId ?? message.id, traceparent: message.headers["traceparent"] };
}
