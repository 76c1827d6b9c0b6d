import { randomUUID } from "node:crypto";
import { resolve } from "node:path";
import {
  type Browsed,
  type ConnectOptions,
  type Store,
  type SubscribeRequest,
  type Subscription,
  type Transport,
  WaybillError,
} from "@waybill/core";
import { capabilitiesOf } from "./capabilities.ts";
import { mustGoOn, toError } from "./errors.ts";
import { canonical, openPlace } from "./file.ts";
import { type Link, openLink } from "./link.ts";
import { type EmbeddedOptions, readOptions, type Settings } from "./options.ts";
import { createPublish } from "./publish.ts";
import { openSection } from "./section.ts";
import { joinedStore, noteTransport, type OpenStore, workerSettings } from "./store.ts";
import { beginTransaction, ownTransaction } from "./transaction.ts";
import type { EmbeddedTx } from "./tx.ts";
import { openSubscription, type OwnSubscription } from "./subscription.ts";
import { noHeaders } from "./sql/record.ts";
import { inboxPrefix } from "./sql/pattern.ts";
import type { Diagnosis, FromWorker, SubscribeCall } from "./worker/protocol.ts";
import { untilAborted } from "./until-aborted.ts";
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
    publish: createPublish({ settings, file, link: linked }),
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

function checkRequest({ topic, pattern, inbox, group, native }: SubscribeRequest): void {
  const ways = [topic !== undefined, pattern !== undefined, inbox].filter(Boolean).length;
  if (ways !== 1) throw new WaybillError("CONFIG", "subscribe: expected exactly one of topic, pattern and inbox");
  if (inbox && group !== undefined) throw new WaybillError("CONFIG", "subscribe: an inbox has no group");
  if (native !== undefined) throw new WaybillError("CONFIG", "native: the embedded transport has no subscribe options of its own");
}
