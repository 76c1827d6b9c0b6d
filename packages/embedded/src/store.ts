import { resolve } from "node:path";
import { type OutboxRow, type Store, type Transport, WaybillError } from "@waybill/core";
import { canonical, openPlace, type Place } from "./file.ts";
import { type Link, openLink } from "./link.ts";
import { type EmbeddedStoreOptions, readStoreOptions, type Settings } from "./options.ts";
import { openSection, type Section } from "./section.ts";
import type { InboxPlace } from "./sql/inbox.ts";
import { noHeaders } from "./sql/record.ts";
import { beginTransaction } from "./transaction.ts";
import type { EmbeddedTx } from "./tx.ts";
import type { Calls } from "./worker/protocol.ts";
import { createWake } from "./wake.ts";

/** An open file, of a transport or of a store by itself. */
export interface OpenStore {
  readonly link: Link;
  readonly section: Section;
  readonly place: Place;
}

const transports = new WeakMap<Transport, string>();

/** So that a store can tell whether its transactions may be passed to it. */
export function noteTransport(transport: Transport, file: string): void {
  transports.set(transport, file);
}

/** The store of a transport: open while the transport is connected. */
export function joinedStore(path: string, settings: Settings, opened: () => OpenStore): Store<EmbeddedTx> {
  return createStore(
    path,
    settings,
    opened,
    async () => undefined,
    async () => undefined,
  );
}

/**
 * A store on a file of its own: for the inbox and outbox rows, and the handlers' tables, of any transport.
 * @throws `CONFIG` listing every wrong option.
 */
export function embeddedStore(options: EmbeddedStoreOptions): Store<EmbeddedTx> {
  const settings = readStoreOptions(options);
  const path = resolve(settings.path);
  let open: OpenStore | undefined;
  let opening: Promise<void> | undefined;
  let closing: Promise<void> | undefined;

  async function start(signal: AbortSignal): Promise<void> {
    const place = openPlace(path);
    try {
      const link = await openLink(workerSettings(path, settings, place), signal, {
        message: (message) => {
          if (message.t === "outbox") place.outboxChanged();
        },
        restarted: () => undefined,
        lost: () => undefined,
        held: undefined,
      });
      open = { link, place, section: openSection({ path, settings, place, committed: createWake(() => link.tell({ t: "wake" })) }) };
    } catch (error) {
      place.leave();
      throw error;
    }
  }

  async function shut(): Promise<void> {
    await opening?.catch(() => undefined);
    await open?.section.close();
    await open?.link.close();
    open?.place.leave();
    open = undefined;
  }

  return createStore(
    path,
    settings,
    () => {
      if (open === undefined) throw new WaybillError(closing === undefined ? "CONNECTION" : "CLOSED", `the store ${path} is not open`);
      return open;
    },
    async (signal) => {
      if (closing !== undefined) throw new WaybillError("CLOSED", `the store ${path} is closed`);
      if (open !== undefined) return;
      opening ??= start(signal).finally(() => {
        opening = undefined;
      });
      await opening;
    },
    () => (closing ??= shut()),
  );
}

export function workerSettings(path: string, settings: Settings, place: Place): Parameters<typeof openLink>[0] {
  return {
    path,
    turns: place.turns,
    place: place.worker,
    maxFileBytes: settings.maxFileBytes,
    lockTimeoutMs: settings.lockTimeoutMs,
    retentionMs: settings.retentionMs,
    deduplicationMs: settings.deduplicationMs,
    deduplicationMessages: settings.deduplicationIds,
    pollMs: settings.pollMs,
  };
}

function createStore(
  path: string,
  settings: Settings,
  opened: () => OpenStore,
  open: (signal: AbortSignal) => Promise<void>,
  close: () => Promise<void>,
): Store<EmbeddedTx> {
  const file = canonical(path);
  return {
    name: `embedded(${path})`,
    open: ({ signal }) => open(signal),
    close,
    [Symbol.asyncDispose]: close,
    joins: (transport) => transports.get(transport) === file,
    begin({ signal }) {
      const { section, place } = opened();
      return beginTransaction({ file, section, maxBodyBytes: settings.maxBodyBytes, signal, enqueued: place.outboxChanged });
    },
    applied: async (group, ids) => opened().link.call("applied", { group, ids: [...ids] }),
    async forget(olderThanMs) {
      let all = 0;
      for (let after: InboxPlace | undefined = ["", ""]; after !== undefined;) {
        const { gone, next }: Calls["forget"]["answer"] = await opened().link.call("forget", { olderThanMs, after });
        all += gone;
        after = next;
      }
      return all;
    },
    outbox: {
      async take({ owner, limit, leaseMs }) {
        return (await opened().link.call("takeOutbox", { owner, limit, leaseMs })).map(revive);
      },
      async done(owner, rows) {
        await opened().link.call("doneOutbox", { owner, rows: [...rows] });
      },
      async release(owner, rows) {
        await opened().link.call("releaseOutbox", { owner, rows: [...rows] });
      },
      backlog: async () => opened().link.call("backlog", null),
      watch(wake) {
        const { link, place } = opened();
        const stop = place.watch(wake);
        void link.call("watchOutbox", { on: true }).catch(() => undefined);
        return stop;
      },
    },
  };
}

/** A prototype of null does not cross threads. */
function revive({ row, message }: OutboxRow): OutboxRow {
  const names = Object.keys(message.headers);
  const headers = names.length === 0 ? noHeaders : Object.assign(Object.create(null) as Record<string, string>, message.headers);
  return { row, message: { ...message, headers } };
}
