import type { Timer } from "./clock.ts";
import { createRelay, type Relay, type RelayOptions } from "./relay.ts";
import type { Store } from "./store/store.ts";

const forgetEveryMs = 3_600_000;

/** The stores that a bus uses: opened at start, each with its relay. They are their makers' to close. */
export interface Relays {
  add(store: Store): void;
  /** Opens the stores and starts sending. */
  start(): Promise<void>;
  /** Adds one while running. */
  ensure(store: Store): Promise<void>;
  stop(drainOver: AbortSignal): Promise<void>;
  readonly healthy: boolean;
}

export interface RelaysOptions extends Omit<RelayOptions, "store"> {
  /** Inbox rows that are older are deleted: a repeat that comes later than that is applied again. */
  readonly keepInboxMs: number;
  /** A store that joins it needs no relay: what it publishes is in the same transaction. */
  readonly joins: (store: Store) => boolean;
  readonly openTimeoutMs: number;
}

export function createRelays(options: RelaysOptions): Relays {
  const relays = new Map<Store, Relay | undefined>();
  const opening = new Map<Store, Promise<void>>();
  const forgetting = new Map<Store, Timer>();
  let started = false;
  let stopped = false;

  async function open(store: Store): Promise<void> {
    const limit = new AbortController();
    const timer = options.clock.after(options.openTimeoutMs, () => limit.abort());
    try {
      await store.open({ signal: limit.signal });
    } finally {
      timer.cancel();
    }
    forgetLater(store);
    if (options.joins(store)) return;
    const relay = createRelay({ ...options, store });
    relays.set(store, relay);
    relay.start();
  }

  function forgetLater(store: Store): void {
    const timer = options.clock.after(forgetEveryMs, () => {
      forgetting.delete(store);
      // What is not deleted now is deleted with the next.
      void store
        .forget(options.keepInboxMs)
        .catch(() => 0)
        .then(() => {
          if (!stopped) forgetLater(store);
        });
    });
    forgetting.set(store, timer);
  }

  function ensure(store: Store): Promise<void> {
    let opened = opening.get(store);
    if (opened === undefined) {
      opened = open(store);
      opening.set(store, opened);
      opened.catch(() => opening.delete(store));
    }
    return opened;
  }

  return {
    add(store) {
      if (!relays.has(store)) relays.set(store, undefined);
    },
    async start() {
      started = true;
      await Promise.all([...relays.keys()].map(ensure));
    },
    ensure,
    async stop(drainOver) {
      stopped = true;
      for (const timer of forgetting.values()) timer.cancel();
      if (!started && opening.size === 0) return;
      const running = [...relays.values()].filter((relay) => relay !== undefined);
      await Promise.all(running.map((relay) => relay.stop(drainOver)));
    },
    get healthy() {
      return [...relays.values()].every((relay) => relay?.error === undefined);
    },
  };
}
