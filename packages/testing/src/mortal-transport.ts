import type { Message, PublishOptions, PublishOutcome, SubscribeRequest, Subscription, Transaction, Transport } from "@waybill/core";
import { disturb } from "./disturb.ts";
import { silence, type Life } from "./life.ts";
import type { World } from "./world.ts";

/** Transactions of ours, and the transport's or store's own behind them. */
const originals = new WeakMap<Transaction, Transaction>();

export function standsFor(own: Transaction, original: Transaction): void {
  originals.set(own, original);
}

/** The memory transport of one life, with its crash points and faults. */
export function mortalTransport(world: World, life: Life, inner: Transport): Transport {
  const taken = new WeakMap<Transaction, Message[]>();

  async function publish(messages: readonly Message[], { signal, tx }: PublishOptions): Promise<readonly PublishOutcome[]> {
    return life.call(`publish to ${topicsOf(messages)}`, async () => {
      const outcomes = await inner.publish(messages, optionsFor(signal, tx));
      const done = messages.filter((_, index) => outcomes[index]?.ok === true);
      if (tx !== undefined) taken.get(tx)?.push(...done);
      else await took(done);
      return outcomes;
    });
  }

  async function took(messages: readonly Message[]): Promise<void> {
    for (const message of messages) {
      world.recorder.tookMessage(message);
      if (message.group !== undefined || !world.random.chance(world.faults.duplicates)) continue;
      const [again] = await inner.publish([message], { signal: new AbortController().signal });
      if (again?.ok === true) world.recorder.tookMessage(message);
    }
  }

  async function subscribe(request: SubscribeRequest): Promise<Subscription> {
    const what = request.inbox ? "an inbox" : (request.topic ?? request.pattern ?? "");
    const subscription = await life.call(`subscribe to ${what}`, () => inner.subscribe(heard(request)));
    return {
      address: subscription.address,
      deliveries: () => disturb(world, life, subscription.deliveries(), { name: what, keepsOrder: keepsOrder(request) }),
      settle: (settlements, options) => {
        const kinds = [...new Set(settlements.map(({ kind }) => kind))].join(" and ");
        const tx = options?.tx;
        return life.call(`${kinds} of ${what}`, () =>
          subscription.settle(settlements, tx === undefined ? undefined : { tx: originals.get(tx) ?? tx }),
        );
      },
      credit: (credit) => {
        world.stir();
        if (!life.isDead) subscription.credit(credit);
      },
      async [Symbol.asyncDispose]() {
        if (!life.isDead) await subscription[Symbol.asyncDispose]();
      },
    };
  }

  function heard(request: SubscribeRequest): SubscribeRequest {
    return {
      ...request,
      onEvent(event) {
        world.stir();
        return life.isDead ? undefined : request.onEvent(event);
      },
    };
  }

  /** Where parts are owned by members, each comes in its order. */
  function keepsOrder(request: SubscribeRequest): boolean {
    return request.order === "key" || inner.capabilities(request.topic).revocation.level !== "none";
  }

  const transport: Transport = {
    ...inner,
    connect: ({ signal, onStatus }) =>
      life.call("connect", () =>
        inner.connect({
          signal,
          onStatus(status, reason) {
            world.stir();
            if (!life.isDead) onStatus(status, reason);
          },
        }),
      ),
    close: () => inner.close(),
    publish,
    subscribe,
  };
  const { begin, browse, remove } = inner;
  if (begin !== undefined) {
    transport.begin = async (options) => {
      const original = await life.call("begin", () => begin(options));
      const messages: Message[] = [];
      const tx: Transaction = {
        commit: () =>
          life.call("commit", async () => {
            await original.commit();
            for (const message of messages) world.recorder.tookMessage(message);
          }),
        rollback: () => (life.isDead ? silence() : original.rollback()),
      };
      taken.set(tx, messages);
      standsFor(tx, original);
      return tx;
    };
  }
  if (browse !== undefined) transport.browse = (request) => life.call(`browse ${request.topic}`, () => browse(request));
  if (remove !== undefined)
    transport.remove = (topic, group, positions) => life.call(`remove from ${topic}`, () => remove(topic, group, positions));
  return transport;
}

function optionsFor(signal: AbortSignal, tx: Transaction | undefined): PublishOptions {
  return tx === undefined ? { signal } : { signal, tx: originals.get(tx) ?? tx };
}

function topicsOf(messages: readonly Message[]): string {
  const topics = new Set(messages.map(({ topic }) => topic));
  const [first = ""] = topics;
  return topics.size === 1 ? first : `${first} and ${topics.size - 1} more`;
}
