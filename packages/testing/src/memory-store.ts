import { systemClock, WaybillError, type Clock, type Message, type Store, type StoreTransaction } from "@waybill/core";
import { createLock } from "./lock.ts";
import { createMemoryOutbox } from "./memory-outbox.ts";

/** What a handler sees as `ctx.tx`. Reads see the transaction's own writes. Rejects with `CLOSED` when the transaction is over. */
export interface MemoryTx {
  get<Value = unknown>(key: string): Promise<Value | undefined>;
  set(key: string, value: unknown): Promise<void>;
  delete(key: string): Promise<void>;
}

/** `before`: answered with `TX_UNKNOWN` and not done. `after`: the same answer, and done. `refused`: rolled back, and the answer says so. */
export type CommitFailure = "before" | "after" | "refused";

/** A `Store` that is a map. One transaction at a time: the first use of `tx`, `claim` or `enqueue` waits for its turn. */
export interface MemoryStore extends Store<MemoryTx> {
  /** What is committed. */
  get(key: string): unknown;
  entries(): readonly (readonly [key: string, value: unknown])[];
  /** The next commits fail, so many or until it is stopped. Answers how to stop it. */
  failCommits(how: CommitFailure, times?: number): () => void;
  /** Inbox rows: `[group, id]`. */
  inbox(): readonly (readonly [group: string, id: string])[];
}

export interface MemoryStoreOptions {
  /** Default: that of the test bus that uses it, else the system's. */
  readonly clock?: Clock;
}

const followers = new WeakMap<object, (clock: Clock) => void>();

/** Lets a store that was given no clock follow this one. False: it is no memory store, so what it does takes real time. */
export function followClock(store: object, clock: Clock): boolean {
  const follow = followers.get(store);
  follow?.(clock);
  return follow !== undefined;
}

interface Writes {
  readonly data: Map<string, { readonly value: unknown } | undefined>;
  readonly claims: Set<string>;
  readonly outgoing: Message[];
}

export function memoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  let clock = options.clock ?? systemClock;
  const data = new Map<string, unknown>();
  const applied = new Map<string, number>();
  const outbox = createMemoryOutbox(() => clock);
  const lock = createLock();
  let failure: { readonly how: CommitFailure; left: number } | undefined;
  let isOpen = false;

  function mustBeOpen(): void {
    if (!isOpen) throw new WaybillError("STORE", "the store is not open");
  }

  function commit({ data: written, claims, outgoing }: Writes): void {
    const how = failure !== undefined && failure.left > 0 ? failure.how : undefined;
    if (failure !== undefined && how !== undefined) failure.left -= 1;
    if (how === "before") throw new WaybillError("TX_UNKNOWN", "the commit was not answered");
    if (how === "refused") throw new WaybillError("STORE", "the commit was refused: rolled back");
    for (const [key, write] of written) {
      if (write === undefined) data.delete(key);
      else data.set(key, write.value);
    }
    for (const claim of claims) applied.set(claim, clock.now());
    outbox.add(outgoing);
    if (how === "after") throw new WaybillError("TX_UNKNOWN", "the commit was not answered");
  }

  function begin({ signal }: { readonly signal: AbortSignal }): StoreTransaction<MemoryTx> {
    const writes: Writes = { data: new Map(), claims: new Set(), outgoing: [] };
    let release: (() => void) | undefined;
    let turn: Promise<void> | undefined;
    let over = false;
    // Whoever gave the transaction up may never come back to end it.
    const onAbort = (): void => end();

    function end(): void {
      over = true;
      signal.removeEventListener("abort", onAbort);
      release?.();
      release = undefined;
    }
    function mustGoOn(): void {
      if (over) throw new WaybillError("CLOSED", "the transaction is over");
    }
    async function mine(): Promise<void> {
      mustBeOpen();
      mustGoOn();
      turn ??= lock.take().then((give) => {
        release = give;
        if (over) end();
      });
      await turn;
      mustGoOn();
    }

    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) end();
    return {
      tx: {
        async get<Value>(key: string) {
          await mine();
          const written = writes.data.get(key);
          return (writes.data.has(key) ? written?.value : data.get(key)) as Value | undefined;
        },
        async set(key, value) {
          await mine();
          writes.data.set(key, { value });
        },
        async delete(key) {
          await mine();
          writes.data.set(key, undefined);
        },
      },
      async claim(group, id) {
        await mine();
        const claim = claimOf(group, id);
        if (applied.has(claim) || writes.claims.has(claim)) return false;
        writes.claims.add(claim);
        return true;
      },
      async enqueue(messages) {
        await mine();
        writes.outgoing.push(...messages);
      },
      async commit() {
        mustGoOn();
        try {
          commit(writes);
        } finally {
          end();
        }
      },
      async rollback() {
        end();
      },
    };
  }

  const store: MemoryStore = {
    name: "memory store",
    async open() {
      isOpen = true;
    },
    async close() {
      isOpen = false;
    },
    joins: () => false,
    begin,
    async applied(group, ids) {
      mustBeOpen();
      return ids.map((id) => applied.has(claimOf(group, id)));
    },
    async forget(olderThanMs) {
      mustBeOpen();
      let count = 0;
      for (const [claim, at] of applied) {
        if (at >= clock.now() - olderThanMs) continue;
        applied.delete(claim);
        count += 1;
      }
      return count;
    },
    outbox,
    get: (key) => data.get(key),
    entries: () => [...data],
    failCommits(how, times = Infinity) {
      const own = { how, left: times };
      failure = own;
      return () => {
        if (failure === own) failure = undefined;
      };
    },
    inbox: () => [...applied.keys()].map((claim) => JSON.parse(claim) as [string, string]),
    [Symbol.asyncDispose]: () => store.close(),
  };
  followers.set(store, (followed) => {
    if (options.clock === undefined) clock = followed;
  });
  return store;
}

function claimOf(group: string, id: string): string {
  return JSON.stringify([group, id]);
}
