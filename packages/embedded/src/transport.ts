import { randomUUID } from "node:crypto";
import { resolve } from "node:path";
import {
  type Browsed,
  type ConnectOptions,
  type Message,
  published,
  type PublishOptions,
  type PublishOutcome,
  type Store,
  type SubscribeRequest,
  type Subscription,
  type Transaction,
  type Transport,
  WaybillError,
} from "@waybill/core";
import { capabilitiesOf } from "./capabilities.ts";
import { mustGoOn, toError } from "./errors.ts";
import { canonical, openPlace } from "./file.ts";
import { type Link, openLink } from "./link.ts";
import { type EmbeddedOptions, readOptions, type Settings } from "./options.ts";
import { packMessages } from "./packing.ts";
import { openSection } from "./section.ts";
import { joinedStore, noteTransport, type OpenStore, workerSettings } from "./store.ts";
import { beginTransaction, ownTransaction } from "./transaction.ts";
import type { EmbeddedTx } from "./tx.ts";
import { openSubscription, type OwnSubscription } from "./subscription.ts";
import { noHeaders } from "./sql/record.ts";
import { inboxPrefix } from "./sql/pattern.ts";
import { batchStates, type Diagnosis, type FromWorker, stateCells, type SubscribeCall } from "./worker/protocol.ts";
import { createWake } from "./wake.ts";

/** The way out: the file itself, read through the worker. */
export interface EmbeddedClient {
  readonly path: string;
  /** Rows of a statement that only reads. */
  query(
    sql: string,
    values?: readonly (string | number | bigint | null | Uint8Array)[],
  ): Promise<readonly Readonly<Record<string, unknown>>[]>;
  /** Members, and messages that are damaged and therefore never served. */
  diagnose(): Promise<Diagnosis>;
}

export interface EmbeddedTransport extends Transport<undefined, undefined> {
  readonly client: EmbeddedClient;
  /** The same file as a store: what a handler writes, the inbox row, what it publishes and its acknowledgement commit together. */
  readonly store: Store<EmbeddedTx>;
  close(): Promise<void>;
}

const sweepMs = 100;

const crashes = new WeakMap<Transport, () => void>();
/** For tests: as if the process of this transport had ended, as far as that can be had while it goes on. */
export function crash(transport: Transport): void {
  crashes.get(transport)?.();
}

/**
 * A durable transport for the processes of one host, on one file.
 * @throws `CONFIG` listing every wrong option. */
export function embedded(options: EmbeddedOptions): EmbeddedTransport {
  const settings = readOptions(options);
  return createTransport(settings, resolve(settings.path));
}

function createTransport(settings: Settings, path: string): EmbeddedTransport {
  const name = `embedded(${path})`;
  const capabilities = capabilitiesOf(settings);
  const subs = new Map<number, OwnSubscription>();
  const file = canonical(path);
  let opened: OpenStore | undefined;
  let connect: ConnectOptions | undefined;
  let closing: Promise<void> | undefined;
  let subIds = 0;
  let cells = 0;
  let sweeper: NodeJS.Timeout | undefined;

  function mustBeOpen(): OpenStore {
    if (closing !== undefined) throw new WaybillError("CLOSED", `${name} is closed`);
    if (opened === undefined) throw new WaybillError("CONNECTION", `${name} is not connected`);
    return opened;
  }
  const linked = (): Link => mustBeOpen().link;

  function receive(message: Exclude<FromWorker, { id: number }>): void {
    switch (message.t) {
      case "deliver":
        subs.get(message.sub)?.deliver(message);
        break;
      case "gap":
        subs.get(message.sub)?.event({ kind: "gap", count: message.count, reason: message.reason });
        break;
      case "ended":
        subs.get(message.sub)?.fail(toError(message.failure));
        break;
      case "broken":
        connect?.onStatus("disconnected", toError(message.failure));
        break;
      case "mended":
        connect?.onStatus("connected");
        break;
      case "outbox":
        opened?.place.outboxChanged();
        break;
      case "opened":
      case "refused":
      case "many":
        break;
    }
  }

  async function subscribeAgain(): Promise<void> {
    for (const sub of subs.values()) {
      try {
        await opened?.link.call("subscribe", sub.call);
        sub.restarted();
      } catch (error) {
        sub.fail(error as WaybillError);
      }
    }
    connect?.onStatus("connected");
  }

  async function open(choices: ConnectOptions): Promise<void> {
    if (closing !== undefined) throw new WaybillError("CLOSED", `${name} is closed`);
    if (opened !== undefined) throw new WaybillError("BUSY", `${name} is connected already`);
    connect = choices;
    choices.onStatus("connecting");
    const place = openPlace(path);
    try {
      const link = await openLink(workerSettings(path, settings, place), choices.signal, {
        message: receive,
        restarted: () => void subscribeAgain(),
        lost: (reason) => connect?.onStatus("disconnected", reason),
        held: settings.faults.held,
      });
      const section = openSection({ path, settings, place, committed: createWake(() => link.tell({ t: "wake" })) });
      opened = { link, place, section };
    } catch (error) {
      place.leave();
      throw error;
    }
    sweeper = setInterval(() => {
      const now = performance.now();
      for (const sub of subs.values()) sub.sweep(now);
    }, sweepMs);
    sweeper.unref();
    choices.onStatus("connected");
  }

  async function shut(): Promise<void> {
    clearInterval(sweeper);
    await Promise.all([...subs.values()].map((sub) => sub[Symbol.asyncDispose]()));
    await opened?.section.close();
    await opened?.link.close();
    opened?.place.leave();
    connect?.onStatus("closed");
  }

  async function publish(messages: readonly Message[], choices: PublishOptions): Promise<readonly PublishOutcome[]> {
    if (choices.tx !== undefined) return publishIn(choices.tx, messages);
    let on: Link;
    try {
      on = linked();
    } catch (error) {
      return all(messages, error as WaybillError);
    }
    if (choices.signal.aborted) return all(messages, new WaybillError("ABORTED", "the signal had fired before it was published"));
    const packed = packMessages(messages, settings.maxBodyBytes);
    const outcomes: PublishOutcome[] = Array.from({ length: messages.length }, () => published);
    if (packed.refused !== undefined) for (const [at, error] of packed.refused) outcomes[at] = { ok: false, error };
    if (packed.index.length === 0) return outcomes;
    const cell = 1 + (cells++ % (stateCells - 1));
    Atomics.store(on.shared, cell, batchStates.waiting);
    const data = packed.data.buffer as ArrayBuffer;
    const index = packed.index.buffer as ArrayBuffer;
    const { targets, timed, newestTime } = packed;
    const sent = on.request(
      { t: "publish", id: on.nextId(), cell, targets, data, index, timed, newestTime },
      [data, index],
      settings.lockTimeoutMs + 20_000,
    );
    const at = (n: number): number => packed.places?.[n] ?? n;
    const fill = (error: WaybillError): readonly PublishOutcome[] => {
      for (let i = 0; i < messages.length; i++) if (packed.refused?.has(i) !== true) outcomes[i] = { ok: false, error };
      return outcomes;
    };
    if (sent === undefined) return fill(new WaybillError("CONNECTION", "the embedded worker is being started again"));
    const reply = await untilAborted(sent, choices.signal);
    if (reply === "aborted") {
      const dropped = Atomics.compareExchange(on.shared, cell, batchStates.waiting, batchStates.dropped) === batchStates.waiting;
      if (dropped) return fill(new WaybillError("ABORTED", "the signal fired before it was written"));
      return fill(new WaybillError("ABORTED", "the signal fired while it was written", { certainty: "indefinite" }));
    }
    if (reply.t === "failed") return fill(toError(reply.failure));
    if (reply.t === "published" && reply.failures !== undefined) {
      for (const [n, failure] of reply.failures) outcomes[at(n)] = { ok: false, error: toError(failure) };
    }
    return outcomes;
  }

  async function publishIn(tx: Transaction, messages: readonly Message[]): Promise<readonly PublishOutcome[]> {
    const own = ownTransaction(tx, file);
    if (own === undefined) return all(messages, new WaybillError("CONFIG", "tx: expected a transaction of this transport or of its store"));
    try {
      return await own.publish(messages);
    } catch (error) {
      return all(messages, error as WaybillError);
    }
  }

  async function subscribe(request: SubscribeRequest): Promise<Subscription> {
    checkRequest(request);
    const on = linked();
    mustGoOn(request.signal, "subscribing");
    const id = ++subIds;
    const call: SubscribeCall = {
      sub: id,
      topic: request.topic,
      pattern: request.pattern,
      group: request.group,
      from: request.from,
      leaseMs: request.leaseMs,
      ordered: request.order === "key",
      inbox: request.inbox ? `${inboxPrefix}${randomUUID()}` : undefined,
    };
    const sub = openSubscription({
      id,
      link: on,
      call,
      request,
      async settleIn(tx, settlements, committed) {
        const own = ownTransaction(tx, file);
        if (own === undefined) throw new WaybillError("CONFIG", "tx: expected a transaction of this transport or of its store");
        return own.settle(settlements, { owner: on.member, extendMs: call.leaseMs, ordered: call.ordered }, committed);
      },
      disposed: () => subs.delete(id),
    });
    subs.set(id, sub);
    try {
      const done = await untilAborted(on.call("subscribe", call), request.signal);
      if (done === "aborted") throw new WaybillError("ABORTED", "the signal fired while subscribing");
    } catch (error) {
      await sub[Symbol.asyncDispose]();
      throw error;
    }
    sub.credit(request.credit);
    return sub;
  }

  const transport: EmbeddedTransport = {
    name,
    lanes: { of: () => "", batches: 2, maxMessages: 500, maxBytes: 8 * 1024 * 1024 },
    client: {
      path,
      query: (sql, values = []) => linked().call("query", { sql, values }),
      diagnose: () => linked().call("diagnose", null),
    },
    store: joinedStore(path, settings, mustBeOpen),
    capabilities: () => capabilities,
    connect: open,
    close() {
      closing ??= shut();
      return closing;
    },
    publish,
    subscribe,
    async begin({ signal }) {
      const { section, place } = mustBeOpen();
      return beginTransaction({ file, section, maxBodyBytes: settings.maxBodyBytes, signal, enqueued: place.outboxChanged });
    },
    inspect: (topic, group) => linked().call("inspect", { topic, group }),
    declare: (topology) => linked().call("declare", plain(topology)),
    check: (topology) => linked().call("check", plain(topology)),
    async browse({ topic, group, after, limit, signal }) {
      mustGoOn(signal, "browsing");
      const from = after === undefined ? -1 : Number(after);
      const found = await linked().call("browse", { topic, group, after: from, limit });
      return found.map(revive);
    },
    async remove(topic, group, positions) {
      return linked().call("remove", { topic, group, positions: positions.map(Number) });
    },
    async seek(topic, group, to) {
      await linked().call("seek", { topic, group, to });
    },
  };
  noteTransport(transport, file);
  crashes.set(transport, () => {
    clearInterval(sweeper);
    subs.clear();
    opened?.link.abandon();
  });
  return transport;
}

function plain(topology: { topics: readonly string[]; groups: readonly { topic: string; group: string }[] }): {
  topics: string[];
  groups: { topic: string; group: string }[];
} {
  return { topics: [...topology.topics], groups: topology.groups.map(({ topic, group }) => ({ topic, group })) };
}

/** A prototype of null does not cross threads. */
function revive({ message, position }: Browsed): Browsed {
  const names = Object.keys(message.headers);
  const headers = names.length === 0 ? noHeaders : Object.assign(Object.create(null) as Record<string, string>, message.headers);
  return { message: { ...message, headers }, position };
}

function all(messages: readonly Message[], error: WaybillError): readonly PublishOutcome[] {
  const outcome: PublishOutcome = { ok: false, error };
  return messages.map(() => outcome);
}

function checkRequest({ topic, pattern, inbox, group, native }: SubscribeRequest): void {
  const ways = [topic !== undefined, pattern !== undefined, inbox].filter(Boolean).length;
  if (ways !== 1) throw new WaybillError("CONFIG", "subscribe: expected exactly one of topic, pattern and inbox");
  if (inbox && group !== undefined) throw new WaybillError("CONFIG", "subscribe: an inbox has no group");
  if (native !== undefined) throw new WaybillError("CONFIG", "native: the embedded transport has no subscribe options of its own");
}

async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T | "aborted"> {
  let fire: (() => void) | undefined;
  const aborted = new Promise<"aborted">((resolve) => {
    fire = () => resolve("aborted");
    if (signal.aborted) fire();
    else signal.addEventListener("abort", fire, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", fire!);
  }
}
