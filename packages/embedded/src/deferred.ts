import type { Message } from "@waybill/core";
import { packMessages } from "./packing.ts";
import { append } from "./sql/append.ts";
import { hasBit } from "./sql/bits.ts";
import type { Catalog } from "./sql/catalog.ts";
import type { StoreClock } from "./sql/clock.ts";
import type { Connection } from "./sql/connection.ts";
import { failed } from "./sql/failure.ts";
import { type Settled, settleAll } from "./sql/settle.ts";

/** What the transport does for a handler at its commit: together with what it does for the others, in a few statements. */
export interface Deferred {
  readonly messages: Message[];
  readonly settlements: { readonly one: Settled; readonly owner: number; readonly ordered: boolean }[];
}

export interface DeferredOn {
  readonly connection: Connection;
  readonly catalog: Catalog;
  readonly clock: StoreClock;
}

/** Of one transaction: what its handlers want settled. The write lock is held, so what it has read stays true. */
export interface Ledger {
  /** Whether it is still to be settled, by this member and by no other handler of the transaction. Then it is noted. */
  note(connection: Connection, one: Settled, owner: number): boolean;
  /** The handler was rolled back. */
  drop(deferred: Deferred): void;
  reset(): void;
}

export function createLedger(): Ledger {
  const leases = new Map<number, Uint8Array | undefined>();
  const noted = new Set<string>();
  const keyOf = (one: Settled): string => (one.index >= 0 ? `${one.lease}/${one.index}` : `${one.group}:${one.seq}`);

  function isOpen(connection: Connection, one: Settled, owner: number): boolean {
    if (one.index < 0) {
      const parked = "select 1 from waybill_parked where grp = ? and seq = ? and lease = ? and owner = ?";
      return connection.one(parked, one.group, one.seq, one.lease, owner) !== undefined;
    }
    if (!leases.has(one.lease)) {
      const row = connection.one("select done from waybill_leases where id = ? and owner = ?", one.lease, owner);
      leases.set(one.lease, row?.[0] as Uint8Array | undefined);
    }
    const done = leases.get(one.lease);
    return done !== undefined && !hasBit(done, one.index);
  }

  return {
    note(connection, one, owner) {
      const key = keyOf(one);
      if (noted.has(key) || !isOpen(connection, one, owner)) return false;
      noted.add(key);
      return true;
    },
    drop({ settlements }) {
      for (const { one } of settlements) noted.delete(keyOf(one));
    },
    reset() {
      leases.clear();
      noted.clear();
    },
  };
}

/** In the transaction, before its commit. @throws what SQLite says: then none of it happens */
export function applyDeferred(on: DeferredOn, all: readonly Deferred[], maxBodyBytes: number): void {
  const messages = all.flatMap((one) => one.messages);
  if (messages.length > 0) {
    const { targets, data, index, newestTime, timed } = packMessages(messages, maxBodyBytes);
    const times = new Map(timed.map(([at, due, expires]) => [at, { due, expires }]));
    // Whether it was stored before is the inbox row's to know, which is in the same transaction.
    const { failures } = append({ ...on, repeats: undefined }, { targets, data, index, timed: times, newestTime });
    const [failure] = failures?.values() ?? [];
    if (failure !== undefined) throw failed(failure);
  }
  const groups = new Map<string, { owner: number; ordered: boolean; settled: Settled[] }>();
  for (const { settlements } of all) {
    for (const { one, owner, ordered } of settlements) {
      const key = `${owner}/${ordered}`;
      const group = groups.get(key);
      if (group === undefined) groups.set(key, { owner, ordered, settled: [one] });
      else group.settled.push(one);
    }
  }
  for (const { owner, ordered, settled } of groups.values()) {
    const { done } = settleAll({ ...on, owner, isOrdered: () => ordered }, settled);
    if (done.includes(false)) throw failed({ code: "LEASE_LOST", text: "a delivery was settled by something else", certainty: "definite" });
  }
}
