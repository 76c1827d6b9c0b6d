import { WaybillError, type SettleOutcome, type Transaction } from "@waybill/core";
import type { KafkaSession } from "../session/session.ts";
import { writeCommitNote } from "./commit-note.ts";
import type { Commits } from "./commits.ts";
import type { Identity, Membership } from "./membership.ts";
import type { Part } from "./part.ts";
import type { Handle } from "./progress.ts";

/** What a group is to have committed in a partition when the transaction is. */
export interface TakenOffset {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly metadata: string;
}

/** `unknown`: nobody said. What the coordinator has, once it is sure, tells. */
export type TransactionEnd = "committed" | "rolled back" | "unknown";

/** A transaction of Kafka, as far as consuming takes part in it. */
export interface OffsetTransaction extends Transaction {
  /** Sends them with the transaction. Rejects where they were refused: then it has to be rolled back. */
  takeOffsets(group: string, identity: Identity, offsets: readonly TakenOffset[]): Promise<void>;
  /** Told once how it ended; at once if it is over already. */
  onEnd(told: (how: TransactionEnd) => void): void;
}

export function isOffsetTransaction(tx: Transaction): tx is OffsetTransaction {
  return "takeOffsets" in tx && "onEnd" in tx;
}

/** Settlements that take effect with a transaction. Of one group one transaction at a time: a second would not know of the first. */
export interface TransactionalSettling {
  settle(tx: OffsetTransaction, handles: readonly Handle[]): Promise<readonly SettleOutcome[]>;
}

export interface TransactionalSettlingOptions {
  readonly session: KafkaSession;
  readonly group: string;
  readonly commits: Commits;
  readonly membership: () => Membership;
  /** Nobody knows where these stand: they are begun again, from what the coordinator says. */
  readonly doubt: (parts: ReadonlySet<Part>) => void;
}

export function createTransactionalSettling(options: TransactionalSettlingOptions): TransactionalSettling {
  const { session, group, commits } = options;
  const open = new Map<OffsetTransaction, Set<Handle>>();

  async function join(tx: OffsetTransaction): Promise<Set<Handle>> {
    const before = open.get(tx);
    if (before !== undefined) return before;
    const release = await commits.hold();
    const taken = new Set<Handle>();
    open.set(tx, taken);
    tx.onEnd((how) => {
      open.delete(tx);
      end(taken, how);
      release();
    });
    return taken;
  }

  function end(taken: ReadonlySet<Handle>, how: TransactionEnd): void {
    const parts = new Set<Part>();
    for (const handle of taken) {
      if (handle.part.state === "gone") continue;
      parts.add(handle.part);
      if (how === "committed") handle.part.progress.finish(handle);
      else if (how === "rolled back") handle.part.progress.unfinish(handle);
    }
    if (how === "unknown") options.doubt(parts);
    else for (const part of parts) part.reader?.wake();
  }

  return {
    async settle(tx, handles) {
      const taken = await join(tx);
      const { identity } = options.membership();
      const isOurs = ({ held, part }: Handle): boolean => held && part.state !== "gone" && identity !== undefined;
      const ours = handles.filter(isOurs);
      for (const handle of ours) {
        handle.part.progress.take(handle);
        taken.add(handle);
      }
      if (ours.length > 0 && identity !== undefined) await tx.takeOffsets(group, identity, offsetsOf(session.id, taken));
      const settled = new Set(ours);
      return handles.map((handle) => (settled.has(handle) ? "done" : "lost"));
    },
  };
}

function offsetsOf(by: string, taken: ReadonlySet<Handle>): readonly TakenOffset[] {
  const parts = new Set([...taken].map(({ part }) => part));
  return [...parts].map((part) => {
    const standing = part.progress.standing(taken);
    const metadata = writeCommitNote(by, Math.max(part.openBelow, standing.committed), standing);
    if (metadata === undefined)
      throw new WaybillError("TRANSPORT", "the notes of these messages do not fit a commit", { certainty: "definite" });
    return { topic: part.topic, partition: part.partition, offset: standing.committed, metadata };
  });
}
