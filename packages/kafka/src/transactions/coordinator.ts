import { initProducerIdV4, type API, type Connection } from "@platformatic/kafka";
import { WaybillError } from "@waybill/core";
import type { Identity } from "../publish/producer.ts";
import { call } from "../session/call.ts";
import { codes } from "../session/codes.ts";
import type { KafkaSession } from "../session/session.ts";

const purpose = { name: "transactions" };
const againMs = 20;

/** What an answer is: its code, or none when no answer came and it may have taken effect. */
export interface Told {
  readonly code: number | undefined;
  /** An earlier try of the same call got no answer. */
  readonly isDoubtful: boolean;
}

/** Calls to the coordinator of one transactional id. */
export interface TransactionCoordinator {
  /** Asks until it gets an answer that is not "later", or the deadline is over. */
  ask<Asked extends unknown[], Answer>(
    api: API<Asked, Answer>,
    deadline: number,
    codeOf: (answer: Answer) => number,
    ...asked: Asked
  ): Promise<Told>;
  /** A new epoch: whatever an earlier one left open is rolled back, and its producers are fenced. */
  begin(deadline: number): Promise<Identity>;
}

const later: ReadonlySet<number> = new Set<number>([
  codes.coordinatorLoadInProgress,
  codes.coordinatorNotAvailable,
  codes.notCoordinator,
  codes.concurrentTransactions,
  codes.unknownTopicOrPartition,
]);

export function createTransactionCoordinator(session: KafkaSession, transactionalId: string): TransactionCoordinator {
  const { clock, settings } = session;

  async function ask<Asked extends unknown[], Answer>(
    api: API<Asked, Answer>,
    deadline: number,
    codeOf: (answer: Answer) => number,
    ...asked: Asked
  ): Promise<Told> {
    let isDoubtful = false;
    for (;;) {
      let connection: Connection | undefined;
      let code: number | undefined;
      try {
        ({ connection } = await session.coordinatorOf(transactionalId, purpose, "transaction"));
        code = codeOf(await call(api, connection, ...asked));
      } catch (error) {
        if (error instanceof WaybillError && !error.retryable) throw error;
        if (connection !== undefined) isDoubtful = true;
        session.forgetCoordinator(transactionalId, "transaction");
      }
      if (code === codes.notCoordinator || code === codes.coordinatorNotAvailable)
        session.forgetCoordinator(transactionalId, "transaction");
      if (code !== undefined && !later.has(code)) return { code, isDoubtful };
      const isOver = clock.monotonic() + againMs >= deadline;
      if (isOver || !(await session.pause(code === codes.concurrentTransactions ? againMs : settings.retryBackoffMs)))
        return { code: undefined, isDoubtful };
    }
  }

  return {
    ask,
    async begin(deadline) {
      let found: Identity | undefined;
      const { code } = await ask(
        initProducerIdV4.api,
        deadline,
        ({ errorCode, producerId, producerEpoch }) => {
          if (errorCode === codes.none) found = { producerId, epoch: producerEpoch, sequences: new Map() };
          return errorCode;
        },
        transactionalId,
        settings.transactionTimeoutMs,
        -1n,
        -1,
      );
      if (found !== undefined) return found;
      if (code === codes.transactionalIdAuthorizationFailed) throw new WaybillError("AUTH", "this user may not use transactions");
      if (code === codes.invalidTransactionTimeout)
        throw new WaybillError("CONFIG", "transactionTimeout is longer than the broker allows (transaction.max.timeout.ms)");
      throw new WaybillError("CONNECTION", `no transaction can be begun now (error ${code ?? "none"})`);
    },
  };
}
