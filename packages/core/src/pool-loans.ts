import type { Clock } from "./clock.ts";
import type { Holder, Lease } from "./pool-types.ts";

export interface PoolEntry<T> {
  readonly value: T;
  readonly openedAt: number;
  idleSince: number;
}

/** What the pool knows of a lease; not the lease itself, so that a forgotten one becomes garbage. */
interface Loan<T> {
  readonly entry: PoolEntry<T>;
  readonly holder: string;
  readonly since: number;
}

/** What is lent out, and what was never returned. */
export interface Loans<T> {
  readonly size: number;
  lend(entry: PoolEntry<T>, holder: string): Lease<T>;
  /** Oldest first. */
  held(): Holder[];
  /** Of leases that became garbage, the last 20. */
  leaked(): Holder[];
  /** Ends all leases: returning them does nothing any more. */
  recall(): PoolEntry<T>[];
}

export interface LoansOptions<T> {
  readonly clock: Clock;
  readonly returned: (entry: PoolEntry<T>) => void;
  readonly discarded: (entry: PoolEntry<T>) => void;
}

const leaksKept = 20;

export function createLoans<T>({ clock, returned, discarded }: LoansOptions<T>): Loans<T> {
  const loans = new Set<Loan<T>>();
  const leaked: Holder[] = [];
  const holderOf = ({ holder, since }: Loan<T>): Holder => ({ holder, heldMs: clock.monotonic() - since });

  const forgotten = new FinalizationRegistry<Loan<T>>((loan) => {
    if (!loans.delete(loan)) return;
    leaked.push(holderOf(loan));
    if (leaked.length > leaksKept) leaked.shift();
    discarded(loan.entry);
  });

  return {
    get size() {
      return loans.size;
    },
    lend(entry, holder) {
      const loan: Loan<T> = { entry, holder, since: clock.monotonic() };
      const end = (back: (entry: PoolEntry<T>) => void): void => {
        if (!loans.delete(loan)) return;
        forgotten.unregister(loan);
        back(entry);
      };
      const lease: Lease<T> = {
        value: entry.value,
        release: () => end(returned),
        discard: () => end(discarded),
        async [Symbol.asyncDispose]() {
          lease.release();
        },
      };
      loans.add(loan);
      forgotten.register(lease, loan, loan);
      return lease;
    },
    held: () => [...loans].map(holderOf),
    leaked: () => [...leaked],
    recall() {
      const entries = [...loans].map(({ entry }) => entry);
      for (const loan of loans) forgotten.unregister(loan);
      loans.clear();
      return entries;
    },
  };
}
