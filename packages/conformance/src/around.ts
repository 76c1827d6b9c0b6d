import type { Capabilities, StoreTransaction, Subscription, Transport } from "@waybill/core";

const inside = new WeakMap<Transport, Transport>();

/** The same transport with some members replaced. */
export function around(inner: Transport, over: Partial<Transport>): Transport {
  const wrapped: Transport = {
    name: inner.name,
    client: inner.client,
    lanes: inner.lanes,
    capabilities: (topic) => inner.capabilities(topic),
    connect: (options) => inner.connect(options),
    close: () => inner.close(),
    publish: (messages, options) => inner.publish(messages, options),
    subscribe: (request) => inner.subscribe(request),
    ...faces(inner),
    ...over,
  };
  inside.set(wrapped, innermost(inner));
  return wrapped;
}

/** The transport under all wrappers: the one that a store may know. */
export function innermost(transport: Transport): Transport {
  return inside.get(transport) ?? transport;
}

export function withCapabilities(inner: Transport, change: (was: Capabilities) => Capabilities): Transport {
  return around(inner, { capabilities: (topic) => change(inner.capabilities(topic)) });
}

function faces(inner: Transport): Partial<Transport> {
  return {
    ...(inner.begin === undefined ? {} : { begin: (options) => begun(inner.begin?.(options)) }),
    ...(inner.inspect === undefined ? {} : { inspect: (topic, group) => begun(inner.inspect?.(topic, group)) }),
    ...(inner.declare === undefined ? {} : { declare: (topology) => begun(inner.declare?.(topology)) }),
    ...(inner.check === undefined ? {} : { check: (topology) => begun(inner.check?.(topology)) }),
    ...(inner.browse === undefined ? {} : { browse: (request) => begun(inner.browse?.(request)) }),
    ...(inner.remove === undefined ? {} : { remove: (topic, group, positions) => begun(inner.remove?.(topic, group, positions)) }),
    ...(inner.seek === undefined ? {} : { seek: (topic, group, to) => begun(inner.seek?.(topic, group, to)) }),
  };
}

function begun<T>(call: Promise<T> | undefined): Promise<T> {
  return call ?? Promise.reject(new Error("the member went away"));
}

/** The members of a subscription, bound to it: to be spread under those that are replaced. */
export function wrapped(subscription: Subscription): Subscription {
  return {
    address: subscription.address,
    deliveries: () => subscription.deliveries(),
    settle: (settlements, options) => subscription.settle(settlements, options),
    credit: (credit) => subscription.credit(credit),
    [Symbol.asyncDispose]: () => subscription[Symbol.asyncDispose](),
  };
}

/** The same transaction, which its adapter must recognise, with another commit. */
export function onCommit(transaction: StoreTransaction, commit: (inner: () => Promise<void>) => Promise<void>): StoreTransaction {
  const inner = transaction.commit.bind(transaction);
  return Object.defineProperty(transaction, "commit", { value: () => commit(inner) });
}
