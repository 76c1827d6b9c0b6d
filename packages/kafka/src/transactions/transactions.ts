import { randomUUID } from "node:crypto";
import { addOffsetsToTxnV3, addPartitionsToTxnV3, endTxnV3, txnOffsetCommitV3, type API } from "@platformatic/kafka";
import { WaybillError, type Message, type PublishOutcome, type Transaction } from "@waybill/core";
import type { OffsetTransaction, TakenOffset, TransactionEnd } from "../consume/index.ts";
import { createLimit } from "../publish/limit.ts";
import { createProducer, type Identity, type PartitionQueue } from "../publish/producer.ts";
import { createRouter } from "../publish/route.ts";
import { call } from "../session/call.ts";
import { codes } from "../session/codes.ts";
import type { KafkaSession } from "../session/session.ts";
import { createTransactionCoordinator } from "./coordinator.ts";
import { createTurns } from "./turns.ts";

/**
 * Read-process-write: what is published and the offsets of what was handled take effect together. One transactional id, so
 * one transaction after the other; it begins with the first publish or settlement, not with `begin`, and any refusal ends it.
 */
export interface Transactions {
  begin(signal: AbortSignal): Transaction;
  /** Undefined where the transaction is another transport's. */
  publish(tx: Transaction, messages: readonly Message[], signal: AbortSignal): Promise<readonly PublishOutcome[]> | undefined;
}

interface KafkaTransaction extends OffsetTransaction {
  write(messages: readonly Message[], signal: AbortSignal): Promise<readonly PublishOutcome[]>;
}

const abortMs = 5_000;

export function createTransactions(session: KafkaSession): Transactions {
  const { settings, clock } = session;
  const transactionalId = settings.transactionalId ?? `${settings.clientId}-${randomUUID()}`;
  const coordinator = createTransactionCoordinator(session, transactionalId);
  const turns = createTurns();
  const own = new WeakSet<Transaction>();
  let identity: Identity | undefined;
  const producer = createProducer(session, "transactions", {
    transactionalId,
    identity: () => {
      if (identity === undefined) throw new WaybillError("TRANSPORT", "no transaction is open");
      return identity;
    },
  });
  const route = createRouter(session, () => 0);

  function begin(signal: AbortSignal): KafkaTransaction {
    const partitions = new Set<string>();
    const groups = new Set<string>();
    const listeners: ((how: TransactionEnd) => void)[] = [];
    let state: "new" | "open" | "over" = "new";
    let end: TransactionEnd | undefined;
    let doomed: WaybillError | undefined;
    let leave: (() => void) | undefined;
    // What is done in a transaction is done one after the other: together, a refusal of one went unseen.
    let tail: Promise<unknown> = Promise.resolve();

    function inTurn<T>(work: () => Promise<T>): Promise<T> {
      const run = tail.then(work);
      tail = run.catch(() => undefined);
      return run;
    }

    async function open(): Promise<Identity> {
      if (state === "over") throw new WaybillError("TRANSPORT", "the transaction is over", { certainty: "definite", retryable: false });
      if (doomed !== undefined) throw doomed;
      if (state === "new") {
        leave = await turns.take(AbortSignal.any([signal, session.signal]));
        state = "open";
      }
      try {
        return (identity ??= await coordinator.begin(clock.monotonic() + settings.requestTimeoutMs));
      } catch (error) {
        throw doom(error);
      }
    }

    function doom(error: unknown): WaybillError {
      doomed ??= error instanceof WaybillError ? error : new WaybillError("TRANSPORT", "the transaction failed", { cause: error });
      return doomed;
    }

    /** Tells the coordinator what is going to be in it, before it is. */
    async function enlist<Asked extends unknown[], Answer>(
      api: API<Asked, Answer>,
      codeOf: (answer: Answer) => number,
      ...asked: Asked
    ): Promise<void> {
      const { code } = await coordinator.ask(api, clock.monotonic() + settings.deliveryTimeoutMs, codeOf, ...asked);
      if (code === codes.none) return;
      // Another epoch, or the broker ended it: this one cannot go on, the next may.
      throw doom(new WaybillError("CONNECTION", `the transaction cannot go on (error ${code ?? "none"})`));
    }

    async function addPartitions({ producerId, epoch }: Identity, queues: readonly PartitionQueue[]): Promise<void> {
      const topics = new Map<string, number[]>();
      for (const { topic, partition } of queues) {
        const name = `${topic}/${partition}`;
        if (partitions.has(name)) continue;
        partitions.add(name);
        const of = topics.get(topic);
        if (of === undefined) topics.set(topic, [partition]);
        else of.push(partition);
      }
      if (topics.size === 0) return;
      const asked = [...topics].map(([name, of]) => ({ name, partitions: of }));
      const codeOf = (answer: ReturnType<typeof addPartitionsToTxnV3.parseResponse>): number =>
        answer.resultsByTransaction
          .flatMap(({ topicResults }) => topicResults.flatMap(({ resultsByPartition }) => resultsByPartition))
          .map(({ partitionErrorCode }) => partitionErrorCode)
          .find((code) => code !== codes.none && code !== codes.operationNotAttempted) ?? codes.none;
      const all = [{ transactionalId, producerId, producerEpoch: epoch, verifyOnly: false, topics: asked }];
      await enlist(addPartitionsToTxnV3.api, codeOf, all);
    }

    async function write(messages: readonly Message[], stop: AbortSignal): Promise<readonly PublishOutcome[]> {
      const outcomes: PublishOutcome[] = [];
      const limit = createLimit(clock, settings.deliveryTimeoutMs, [stop, session.signal]);
      try {
        const current = await open();
        const queues = [...(await route(messages, outcomes, limit)).values()].flat();
        await addPartitions(current, queues);
        await producer.write(queues, outcomes, limit);
      } catch (error) {
        const failure = doom(error);
        for (let index = 0; index < messages.length; index += 1) outcomes[index] ??= { ok: false, error: failure };
      } finally {
        limit.end();
      }
      const refused = outcomes.find((outcome) => !outcome.ok);
      if (refused?.ok === false) doom(refused.error);
      return outcomes;
    }

    async function takeOffsets(
      group: string,
      member: Parameters<OffsetTransaction["takeOffsets"]>[1],
      offsets: readonly TakenOffset[],
    ): Promise<void> {
      const { producerId, epoch } = await open();
      if (!groups.has(group)) {
        await enlist(addOffsetsToTxnV3.api, ({ errorCode }) => errorCode, transactionalId, producerId, epoch, group);
        groups.add(group);
      }
      const topics = topicsOf(offsets);
      const deadline = clock.monotonic() + settings.deliveryTimeoutMs;
      for (;;) {
        let code: number | undefined;
        try {
          const { connection } = await session.coordinatorOf(group, { name: "transactions" });
          const { generation, memberId, instanceId } = member;
          const answer = await call(
            txnOffsetCommitV3.api,
            connection,
            transactionalId,
            group,
            producerId,
            epoch,
            generation,
            memberId,
            instanceId,
            topics,
          );
          const answered = answer.topics.flatMap(({ partitions: of }) => of.map(({ errorCode }) => errorCode));
          code = answered.find((each) => each !== codes.none) ?? codes.none;
        } catch (error) {
          if (error instanceof WaybillError && !error.retryable) throw doom(error);
        }
        if (code === codes.none) return;
        if (code !== codes.coordinatorLoadInProgress && code !== codes.concurrentTransactions) session.forgetCoordinator(group);
        const isFinal = code !== undefined && !again.has(code);
        // The group has gone on without this member: what it read is another's by now.
        if (isFinal || clock.monotonic() > deadline || !(await session.pause(settings.retryBackoffMs)))
          throw doom(
            new WaybillError("LEASE_LOST", `the offsets are not taken along (error ${code ?? "none"})`, { certainty: "definite" }),
          );
      }
    }

    function finish(how: TransactionEnd): void {
      state = "over";
      end = how;
      leave?.();
      for (const told of listeners.splice(0)) told(how);
    }

    async function commit(): Promise<void> {
      if (state === "over") throw new WaybillError("TRANSPORT", "the transaction is over", { certainty: "definite", retryable: false });
      if (doomed !== undefined) {
        await rollBack();
        throw new WaybillError(doomed.code, "the transaction was rolled back", {
          certainty: "definite",
          retryable: doomed.retryable,
          cause: doomed,
        });
      }
      if (state === "new" || identity === undefined) return finish("committed");
      const { producerId, epoch } = identity;
      const deadline = clock.monotonic() + settings.transactionTimeoutMs;
      const told = await coordinator.ask(endTxnV3.api, deadline, ({ errorCode }) => errorCode, transactionalId, producerId, epoch, true);
      if (told.code === codes.none) return finish("committed");
      identity = undefined;
      if (told.code === undefined || told.isDoubtful) {
        finish("unknown");
        throw new WaybillError("TX_UNKNOWN", `nobody knows whether the transaction was committed (error ${told.code ?? "none"})`);
      }
      finish("rolled back");
      throw new WaybillError("CONNECTION", `the broker had rolled the transaction back (error ${told.code})`);
    }

    /** A commit was never asked for: whatever comes back or does not, it will never be. */
    async function rollBack(): Promise<void> {
      if (state === "open" && identity !== undefined) {
        const { producerId, epoch } = identity;
        const deadline = clock.monotonic() + abortMs;
        const told = await coordinator
          .ask(endTxnV3.api, deadline, ({ errorCode }) => errorCode, transactionalId, producerId, epoch, false)
          .catch(() => undefined);
        // After a failure the numbers of its producer are not sure any more.
        if (doomed !== undefined || told?.code !== codes.none) identity = undefined;
      }
      finish("rolled back");
    }

    const tx: KafkaTransaction = {
      write: (messages, stop) => inTurn(() => write(messages, stop)),
      takeOffsets: (group, member, offsets) => inTurn(() => takeOffsets(group, member, offsets)),
      onEnd(told) {
        if (end !== undefined) told(end);
        else listeners.push(told);
      },
      commit: () => inTurn(commit),
      rollback: () => inTurn(async () => (state === "over" ? undefined : rollBack())),
    };
    own.add(tx);
    return tx;
  }

  return {
    begin,
    publish: (tx, messages, signal) => (own.has(tx) ? (tx as KafkaTransaction).write(messages, signal) : undefined),
  };
}

const again: ReadonlySet<number> = new Set<number>([
  codes.coordinatorLoadInProgress,
  codes.coordinatorNotAvailable,
  codes.notCoordinator,
  codes.concurrentTransactions,
  codes.requestTimedOut,
]);

function topicsOf(offsets: readonly TakenOffset[]): {
  name: string;
  partitions: { partitionIndex: number; committedOffset: bigint; committedLeaderEpoch: number; committedMetadata: string }[];
}[] {
  return [...Map.groupBy(offsets, ({ topic }) => topic)].map(([name, of]) => ({
    name,
    partitions: of.map(({ partition, offset, metadata }) => ({
      partitionIndex: partition,
      committedOffset: BigInt(offset),
      committedLeaderEpoch: -1,
      committedMetadata: metadata,
    })),
  }));
}
