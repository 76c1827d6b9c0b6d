import type { OutboxRow, Store, StoreTransaction, Transport } from "@waybill/core";
import { silence, type Life } from "./life.ts";
import { followClock } from "./memory-store.ts";
import { standsFor } from "./mortal-transport.ts";
import type { World } from "./world.ts";

/** The same store for as long as the process lives: a dead one's transactions roll back, as when its connection breaks. */
export function mortalStore(world: World, life: Life, inner: Store, original: (transport: Transport) => Transport): Store {
  const isReal = !followClock(inner, world.clock);
  const call = <T>(label: string, run: () => Promise<T>): Promise<T> => life.call(`${label} of ${inner.name}`, run, isReal);

  function begin(options: { readonly signal: AbortSignal }): StoreTransaction {
    const tx = inner.begin(options);
    const forget = life.atDeath(() => void tx.rollback());
    const own: StoreTransaction = {
      get tx() {
        return tx.tx;
      },
      get failure() {
        return tx.failure;
      },
      claim: (group, id) => call("claim", () => tx.claim(group, id)),
      enqueue: (messages) => call("enqueue", () => tx.enqueue(messages)),
      commit: () =>
        call("commit", () => {
          forget();
          return tx.commit();
        }),
      rollback() {
        if (life.isDead) return silence();
        return call("rollback", () => {
          forget();
          return tx.rollback();
        });
      },
    };
    standsFor(own, tx);
    return own;
  }

  /** A crash point only where something was taken: a relay that finds nothing looks again every second. */
  async function take(options: Parameters<Store["outbox"]["take"]>[0]): ReturnType<Store["outbox"]["take"]> {
    world.stir();
    const rows = life.isDead ? await silence<readonly OutboxRow[]>() : await outbox.take(options);
    if (rows.length > 0 && !life.pass(`after take of ${inner.name}`)) return silence();
    return rows;
  }

  const { outbox } = inner;
  return {
    name: inner.name,
    open: (options) => call("open", () => inner.open(options)),
    // It belongs to the test: the next life uses it as well.
    close: async () => undefined,
    joins: (transport) => inner.joins(original(transport)),
    begin,
    applied: (group, ids) => call("applied", () => inner.applied(group, ids)),
    forget: (olderThanMs) => call("forget", () => inner.forget(olderThanMs)),
    outbox: {
      take,
      done: (owner, rows) => call("done", () => outbox.done(owner, rows)),
      release: (owner, rows) => call("release", () => outbox.release(owner, rows)),
      backlog: () => (life.isDead ? silence() : outbox.backlog()),
      watch(wake) {
        const stop = outbox.watch(() => {
          world.stir();
          if (!life.isDead) wake();
        });
        life.atDeath(stop);
        return stop;
      },
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}
