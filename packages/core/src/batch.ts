import type { Attempt } from "./attempt.ts";
import type { BatchContext, BatchHandler, BatchItem, PublishChoices, Published } from "./bus-types.ts";
import type { Clock, Timer } from "./clock.ts";
import { alreadyApplied, isPostponed, settledByTransaction } from "./run-outcome.ts";
import type { Contract } from "./contract.ts";
import { WaybillError } from "./errors.ts";
import type { ExactlyOnce } from "./exactly-once.ts";

/**
 * Gathers attempts and gives them to the handler together. Each stays an attempt of its own, with its own time-out, retry and
 * place in the order of its key; this is only the room where they meet. A batch that throws is tried again in halves, so
 * that one bad message fails alone.
 */
export interface Batcher {
  /** Resolves or rejects as the attempt of this message alone. */
  add(attempt: Attempt, body: unknown): Promise<void>;
}

export interface BatcherOptions {
  readonly clock: Clock;
  readonly size: number;
  readonly withinMs: number;
  readonly group: string;
  readonly handler: BatchHandler<unknown>;
  readonly exactlyOnce: ExactlyOnce | undefined;
}

interface Member {
  readonly attempt: Attempt;
  readonly item: BatchItem<unknown>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export function createBatcher(options: BatcherOptions): Batcher {
  const { clock, size, withinMs, handler, exactlyOnce } = options;
  let gathering: Member[] = [];
  let timer: Timer | undefined;

  function flush(): void {
    timer?.cancel();
    timer = undefined;
    const members = gathering;
    gathering = [];
    // Its time may have run out while it waited.
    const current = members.filter(({ attempt, resolve }) => !attempt.ended || (resolve(), false));
    void handle(current);
  }

  async function handle(members: readonly Member[]): Promise<void> {
    if (members.length === 0) return;
    try {
      await once(members);
    } catch (error) {
      if (members.length === 1 || isPostponed(error)) {
        for (const member of members) member.reject(error);
        return;
      }
      const half = Math.ceil(members.length / 2);
      await handle(members.slice(0, half));
      await handle(members.slice(half));
    }
  }

  async function once(members: readonly Member[]): Promise<void> {
    if (exactlyOnce === undefined) {
      const failed = await call(members);
      for (const member of members) {
        if (failed.has(member.item)) member.reject(failedItem());
        else member.resolve();
      }
      return;
    }
    let failed = new Set<unknown>();
    try {
      const outcome = await exactlyOnce.run(
        members.map(({ attempt }) => attempt),
        async () => {
          failed = await call(members);
          if (failed.size > 0) throw failedItem();
        },
      );
      for (const member of members) {
        if (outcome === "acknowledged") member.reject(settledByTransaction);
        else member.resolve();
      }
    } catch (error) {
      if (error === alreadyApplied && members.length === 1) throw error;
      if (failed.size === 0 || failed.size === members.length) throw error;
      // The writes of the failed ones went back with the others': those are done again without them.
      for (const member of members) if (failed.has(member.item)) member.reject(failedItem());
      await handle(members.filter(({ item }) => !failed.has(item)));
    }
  }

  async function call(members: readonly Member[]): Promise<Set<unknown>> {
    const result = await handler(
      members.map(({ item }) => item),
      contextOf(members.map(({ attempt }) => attempt)),
    );
    return new Set(result === undefined || result === null ? [] : (result.failed ?? []));
  }

  function contextOf(attempts: readonly Attempt[]): BatchContext {
    const lead = attempts[0] as Attempt;
    let signal: AbortSignal | undefined;
    return {
      group: options.group,
      get signal() {
        return (signal ??= attempts.length === 1 ? lead.signal : AbortSignal.any(attempts.map((attempt) => attempt.signal)));
      },
      get tx() {
        return lead.tx;
      },
      publish<Input, Output>(contract: Contract<Input, Output>, body: Input, choices?: PublishChoices): Promise<Published> {
        return lead.publish(contract, body, choices);
      },
    };
  }

  return {
    add(attempt, body) {
      return new Promise((resolve, reject) => {
        const item: BatchItem<unknown> = { body, message: attempt.message, attempt: attempt.attempt };
        // Another generation may be settled on another link: never in one batch.
        const generation = gathering[0]?.attempt.item.delivery.generation;
        if (generation !== undefined && generation !== attempt.item.delivery.generation) flush();
        gathering.push({ attempt, item, resolve, reject });
        if (gathering.length >= size) flush();
        else timer ??= clock.after(withinMs, flush);
      });
    },
  };
}

function failedItem(): WaybillError {
  return new WaybillError("HANDLER", "the batch handler gave it back as failed");
}
