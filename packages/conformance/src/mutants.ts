/**
 * Adapters that are wrong in one place: for every member of the contract one that ignores it, for every capability one that
 * declares it and does not have it. A suite that lets one pass does not test that member.
 */
import { published } from "@waybill/core";
import type {
  Capabilities,
  CapabilityName,
  Delivery,
  Message,
  Settlement,
  SubscribeRequest,
  Subscription,
  Transaction,
  Transport,
} from "@waybill/core";
import { around, withCapabilities, wrapped } from "./around.ts";
import { deliveryFields, messageFields, settlementFields, subscribeFields } from "./fields.ts";
import type { Covered, SettlementField } from "./fields.ts";

export interface Mutant {
  /** What it ignores. */
  readonly name: Covered;
  readonly wrap: (transport: Transport) => Transport;
}

const empty = Object.freeze(Object.create(null) as Record<string, string>);
const unlimited = { messages: 1_000_000, bytes: 2 ** 40 };
let made = 0;

const neutralMessage: { readonly [Field in keyof Message]: (message: Message) => Message[Field] } = {
  id: () => `of-the-adapter-${(made += 1)}`,
  topic: () => "ignored",
  group: () => undefined,
  key: () => undefined,
  body: () => null,
  headers: () => empty,
  time: () => 0,
  deliverAt: () => undefined,
  expiresAt: () => undefined,
  priority: () => undefined,
  replyTo: () => undefined,
  correlationId: () => undefined,
  mandatory: () => false,
  native: () => undefined,
};

const neutralDelivery: { readonly [Field in keyof Delivery]: (delivery: Delivery) => Delivery[Field] } = {
  message: (delivery) => ({ ...delivery.message, body: "ignored" }),
  attempt: () => 1,
  position: () => undefined,
  part: () => "",
  generation: () => 0,
  leaseMs: () => undefined,
  note: () => undefined,
  takenOver: () => false,
  handle: () => undefined,
};

const neutralRequest: { readonly [Field in keyof SubscribeRequest]: (request: SubscribeRequest) => SubscribeRequest[Field] } = {
  topic: () => "ignored",
  pattern: () => undefined,
  group: () => undefined,
  from: () => "latest",
  credit: () => unlimited,
  leaseMs: () => 3_600_000,
  order: () => "none",
  inbox: () => false,
  native: () => undefined,
  signal: () => new AbortController().signal,
  onEvent: () => () => undefined,
};

const neutralSettlement: { readonly [Field in SettlementField]: (settlement: Settlement, first: Delivery) => Settlement } = {
  kind: ({ delivery }) => ({ kind: "ack", delivery }),
  delivery: (settlement, first) => ({ ...settlement, delivery: first }),
  delayMs: (settlement) => (settlement.kind === "retry" ? { ...settlement, delayMs: 0 } : settlement),
  note: (settlement) => ("note" in settlement ? { ...settlement, note: undefined } : settlement),
  topic: (settlement) => (settlement.kind === "dead-letter" ? { ...settlement, topic: "ignored" } : settlement),
  headers: (settlement) => (settlement.kind === "dead-letter" ? { ...settlement, headers: empty } : settlement),
};

const onMessages = (change: (message: Message) => Message) => (transport: Transport) =>
  around(transport, { publish: (messages, options) => transport.publish(messages.map(change), options) });

const onRequest = (change: (request: SubscribeRequest) => SubscribeRequest) => (transport: Transport) =>
  around(transport, { subscribe: (request) => transport.subscribe(change(request)) });

const onSubscription = (change: (subscription: Subscription) => Partial<Subscription>) => (transport: Transport) =>
  around(transport, {
    async subscribe(request) {
      const subscription = await transport.subscribe(request);
      return { ...wrapped(subscription), ...change(subscription) };
    },
  });

/** Deliveries as changed; settlements name the original ones again, unless it is the handle that is ignored. */
const onDeliveries = (change: (delivery: Delivery) => Delivery, restore = true) =>
  onSubscription((subscription) => {
    const originals = new WeakMap<Delivery, Delivery>();
    const original = (delivery: Delivery): Delivery => (restore ? (originals.get(delivery) ?? delivery) : delivery);
    return {
      async *deliveries() {
        for await (const batch of subscription.deliveries()) {
          yield batch.map((delivery) => {
            const changed = change(delivery);
            originals.set(changed, delivery);
            return changed;
          });
        }
      },
      settle: (settlements, options) =>
        subscription.settle(
          settlements.map((each) => ({ ...each, delivery: original(each.delivery) })),
          options,
        ),
    };
  });

const onSettlements = (change: (settlement: Settlement, first: Delivery) => Settlement) =>
  onSubscription((subscription) => {
    let first: Delivery | undefined;
    return {
      settle(settlements, options) {
        first ??= settlements[0]?.delivery;
        return subscription.settle(
          settlements.map((settlement) => change(settlement, first ?? settlement.delivery)),
          options,
        );
      },
    };
  });

/** Says done, and does nothing, for those of `kinds`. */
const deafTo = (...kinds: readonly Settlement["kind"][]) =>
  onSubscription((subscription) => ({
    async settle(settlements, options) {
      const heard = settlements.filter((each) => !kinds.includes(each.kind));
      const outcomes = heard.length === 0 ? [] : [...(await subscription.settle(heard, options))];
      return settlements.map((each) => (kinds.includes(each.kind) ? "done" : (outcomes.shift() ?? "unknown")));
    },
  }));

const nothing: Transaction = { commit: () => Promise.resolve(), rollback: () => Promise.resolve() };

const ignoring: { readonly [Name in CapabilityName]: (transport: Transport) => Transport } = {
  confirm: (transport) =>
    around(transport, {
      publish(messages, options) {
        void transport.publish(messages, options);
        return Promise.resolve(messages.map(() => published));
      },
    }),
  mandatory: onMessages((message) => ({ ...message, mandatory: false })),
  headers: onMessages((message) => ({ ...message, headers: empty })),
  tombstone: onMessages((message) => ({ ...message, body: message.body ?? new Uint8Array(0) })),
  delay: onMessages((message) => ({ ...message, deliverAt: undefined })),
  expiry: onMessages((message) => ({ ...message, expiresAt: undefined })),
  priority: onMessages((message) => ({ ...message, priority: undefined })),
  deduplication(transport) {
    const inner = onMessages((message) => ({ ...message, id: `${message.id}~${(made += 1)}` }))(transport);
    return onDeliveries((delivery) => ({ ...delivery, message: { ...delivery.message, id: delivery.message.id.replace(/~\d+$/, "") } }))(
      inner,
    );
  },
  groups: onRequest((request) => ({ ...request, group: undefined })),
  publishToGroup: onMessages((message) => ({ ...message, group: undefined })),
  reader: onRequest((request) => ({ ...request, group: request.inbox ? undefined : (request.group ?? "everybody") })),
  patterns: onRequest((request) => ({ ...request, topic: request.topic ?? request.pattern?.replaceAll(/[*>]/g, "x"), pattern: undefined })),
  fromEarliest: onRequest((request) => ({ ...request, from: "latest" })),
  fromPosition: onRequest((request) => ({ ...request, from: "latest" })),
  fromTime: onRequest((request) => ({ ...request, from: "latest" })),
  settle: deafTo("ack", "retry", "release", "dead-letter", "extend"),
  settleConfirm: deafTo("ack"),
  attempts: onDeliveries((delivery) => ({ ...delivery, attempt: 1 })),
  retry: deafTo("retry"),
  deadLetter: onSettlements((settlement) =>
    settlement.kind === "dead-letter" ? { kind: "ack", delivery: settlement.delivery } : settlement,
  ),
  note: onSettlements(neutralSettlement.note),
  lease: onRequest((request) => ({ ...request, leaseMs: 3_600_000 })),
  orderByKey: onRequest((request) => ({ ...request, order: "none" })),
  credit: onRequest((request) => ({ ...request, credit: unlimited })),
  revocation: onRequest((request) => ({ ...request, onEvent: () => undefined })),
  inbox: onRequest((request) => (request.inbox ? { ...request, inbox: false, topic: "inbox" } : request)),
  noResponders: onMessages((message) => ({ ...message, replyTo: undefined })),
  transaction: (transport) =>
    onSubscription((subscription) => ({ settle: (settlements) => subscription.settle(settlements) }))(
      around(transport, {
        begin: () => Promise.resolve(nothing),
        publish: (messages, { signal }) => transport.publish(messages, { signal }),
      }),
    ),
  inspect: (transport) =>
    around(transport, { inspect: () => Promise.resolve({ depth: 0, inFlight: 0, lagMessages: 0, oldestAgeMs: 0, consumers: [] }) }),
  topology: (transport) => around(transport, { check: () => Promise.resolve([]), declare: () => Promise.resolve([]) }),
  browse: (transport) => around(transport, { browse: () => Promise.resolve([]) }),
  remove: (transport) => around(transport, { remove: (_topic, _group, positions) => Promise.resolve(positions.length) }),
  seek: (transport) => around(transport, { seek: () => Promise.resolve() }),
};

const declaring =
  (name: CapabilityName, wrap: (transport: Transport) => Transport) =>
  (transport: Transport): Transport =>
    withCapabilities(wrap(transport), (was): Capabilities => (was[name].level === "none" ? { ...was, [name]: { level: "native" } } : was));

const keysOf = <K extends string>(record: Readonly<Record<K, unknown>>): K[] => Object.keys(record) as K[];

/** One for each member of the contract, made from the lists that the contract's types hold to it. */
export const mutants: readonly Mutant[] = [
  ...keysOf(messageFields).map((field): Mutant => ({
    name: `message.${field}`,
    wrap: onMessages((message) => ({ ...message, [field]: neutralMessage[field](message) })),
  })),
  ...keysOf(deliveryFields).map((field): Mutant => ({
    name: `delivery.${field}`,
    wrap: onDeliveries((delivery) => ({ ...delivery, [field]: neutralDelivery[field](delivery) }), field !== "handle"),
  })),
  ...keysOf(subscribeFields).map((field): Mutant => ({
    name: `subscribe.${field}`,
    wrap: onRequest((request) => ({ ...request, [field]: neutralRequest[field](request) })),
  })),
  ...keysOf(settlementFields).map((field): Mutant => ({ name: `settlement.${field}`, wrap: onSettlements(neutralSettlement[field]) })),
  ...keysOf(ignoring).map((name): Mutant => ({ name: `capability.${name}`, wrap: declaring(name, ignoring[name]) })),
];
