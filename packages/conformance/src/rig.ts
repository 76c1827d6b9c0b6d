import { randomBytes } from "node:crypto";
import type { Capabilities, Clock, Message, PublishOutcome, Transport, TransportStatus } from "@waybill/core";
import { seeded, seedOf } from "./random.ts";
import type { Broker, ConformanceTarget } from "./target.ts";
import { until, within } from "./wait.ts";

export interface RigOptions {
  readonly target: ConformanceTarget;
  /** Of the whole suite; cases that harm their broker start another. */
  readonly broker: Broker;
  readonly seed: number;
  readonly full: boolean;
  /** How long one wait may take. */
  readonly waitMs: number;
  /** Where child processes find the target. */
  readonly module?: URL;
  /** Around every transport that a case opens. */
  readonly wrap?: (transport: Transport) => Transport;
}

/** What a case works with. Everything that it opens is closed when the case ends. */
export interface Rig extends RigOptions {
  /** Fires when the case is over. */
  readonly signal: AbortSignal;
  readonly random: () => number;
  /** What the target's transports say of themselves once connected. */
  readonly capabilities: Capabilities;
  scale(usual: number, full: number): number;
  /** A name that no other case and no other run has. */
  unique(label: string): string;
  /** Not connected and not closed by the rig. */
  raw(broker?: Broker): Transport;
  /** Connected. */
  transport(broker?: Broker): Promise<Transport>;
  freshBroker(clock?: Clock): Promise<Broker>;
  /** Last in, first out. */
  defer(close: () => Promise<void> | void): void;
  until(what: string, condition: () => boolean | Promise<boolean>, waitMs?: number): Promise<void>;
  within<T>(what: string, promise: Promise<T>, waitMs?: number): Promise<T>;
  /** Counts messages that were followed to their end. */
  saw(count: number): void;
  readonly checked: () => number;
  dispose(): Promise<void>;
}

const run = randomBytes(4).toString("hex");
let names = 0;

export async function openRig(options: RigOptions, caseName: string): Promise<Rig> {
  const closers: (() => Promise<void> | void)[] = [];
  const over = new AbortController();
  let checked = 0;
  const raw = (broker = options.broker): Transport => {
    const transport = options.target.open(broker.connection);
    return options.wrap === undefined ? transport : options.wrap(transport);
  };
  const connected = async (broker?: Broker): Promise<Transport> => {
    const transport = raw(broker);
    closers.push(() => transport.close());
    await connect(transport, options.waitMs);
    return transport;
  };
  const rig: Omit<Rig, "capabilities"> = {
    ...options,
    signal: over.signal,
    random: seeded(seedOf(options.seed, caseName)),
    scale: (usual, full) => (options.full ? full : usual),
    unique: (label) => `c${run}.${label}.${(names += 1).toString(36)}`,
    raw,
    transport: connected,
    async freshBroker(clock) {
      const broker = await options.target.start(clock);
      closers.push(async () => broker[Symbol.asyncDispose]());
      return broker;
    },
    defer: (close) => void closers.push(close),
    until: (what, condition, waitMs = options.waitMs) => until(what, waitMs, condition),
    within: (what, promise, waitMs = options.waitMs) => within(what, waitMs, promise),
    saw: (count) => void (checked += count),
    checked: () => checked,
    async dispose() {
      over.abort();
      let failure: { readonly error: unknown } | undefined;
      for (const close of closers.toReversed()) {
        try {
          await within("closing what the case opened", 10_000, Promise.resolve(close()));
        } catch (error) {
          // The others are closed all the same.
          failure ??= { error };
        }
      }
      if (failure !== undefined) throw failure.error;
    },
  };
  const first = await connected();
  return { ...rig, capabilities: first.capabilities() };
}

export async function connect(
  transport: Transport,
  waitMs: number,
  onStatus: (status: TransportStatus) => void = () => undefined,
): Promise<void> {
  await within("connect", waitMs, transport.connect({ signal: AbortSignal.timeout(waitMs), onStatus }));
}

/** A message of `topic` with every field set; `body` in the form that this transport takes. */
export function message(rig: { readonly capabilities: Capabilities }, topic: string, fields: Partial<Message> = {}): Message {
  const body = fields.body === undefined ? `body of ${topic}` : fields.body;
  return {
    id: fields.id ?? `m-${run}-${(names += 1).toString(36)}`,
    topic,
    group: fields.group,
    key: fields.key,
    body: rig.capabilities.body === "value" || body === null || body instanceof Uint8Array ? body : encoded(body),
    headers: fields.headers ?? noHeaders,
    time: fields.time ?? Date.now(),
    deliverAt: fields.deliverAt,
    expiresAt: fields.expiresAt,
    priority: fields.priority,
    replyTo: fields.replyTo,
    correlationId: fields.correlationId,
    mandatory: fields.mandatory ?? false,
    native: fields.native,
  };
}
const noHeaders = Object.freeze(Object.create(null) as Record<string, string>);
export const encoded = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

/** Headers as the contract has them: without a prototype. */
export function headers(entries: Record<string, string>): Record<string, string> {
  return Object.assign(Object.create(null) as Record<string, string>, entries);
}

/** What a message's body says, whichever form it travels in. */
export function read(delivered: Message): unknown {
  return delivered.body instanceof Uint8Array ? JSON.parse(new TextDecoder().decode(delivered.body)) : delivered.body;
}

export async function publish(rig: Rig, transport: Transport, messages: readonly Message[]): Promise<readonly PublishOutcome[]> {
  const outcomes = await rig.within("publish", transport.publish(messages, { signal: AbortSignal.timeout(rig.waitMs) }));
  if (outcomes.length !== messages.length) throw new Error(`publish of ${messages.length} messages gave ${outcomes.length} outcomes`);
  return outcomes;
}

/** Publishes, in batches that fit a lane; fails unless every outcome is ok. */
export async function publishAll(rig: Rig, transport: Transport, messages: readonly Message[]): Promise<void> {
  const size = Math.max(1, Math.min(transport.lanes.maxMessages, 500));
  for (let from = 0; from < messages.length; from += size) {
    for (const outcome of await publish(rig, transport, messages.slice(from, from + size))) if (!outcome.ok) throw outcome.error;
  }
}
