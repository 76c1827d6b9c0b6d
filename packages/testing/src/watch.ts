import type { BatchContext, BatchHandler, BatchItem, BatchResult, Contract, Context, Handler, PublishChoices } from "@waybill/core";
import { silence, type Life } from "./life.ts";
import type { AttemptState } from "./recorder.ts";
import type { World } from "./world.ts";

type Ended = (state: AttemptState, error?: unknown) => void;

/** Notes each attempt. After the death of its process a handler is not called, and one that runs hears nothing more. */
export function watchHandler(world: World, life: Life, handler: Handler<unknown>): Handler<unknown> {
  return (body, ctx) => {
    if (life.isDead) return silence();
    const ended = begin(world, life, { body, message: ctx.message, attempt: ctx.attempt }, ctx.group);
    return watch(
      world,
      life,
      () => handler(body, mortalContext(life, ctx)),
      () => ended("handled"),
      (error) => ended("failed", error),
    );
  };
}

export function watchBatch(world: World, life: Life, handler: BatchHandler<unknown>): BatchHandler<unknown> {
  return (batch, ctx) => {
    if (life.isDead) return silence();
    const ends = batch.map((item) => begin(world, life, item, ctx.group));
    const endAll = (result: BatchResult<unknown>): void => {
      const failed = new Set<unknown>(result?.failed);
      batch.forEach((item, index) => ends[index]?.(failed.has(item) ? "failed" : "handled"));
    };
    const work = (): BatchResult<unknown> | Promise<BatchResult<unknown>> => handler(batch, mortalBatchContext(life, ctx));
    return watch(world, life, work, endAll, (error) => ends.forEach((ended) => ended("failed", error))) as BatchResult<unknown>;
  };
}

function begin(world: World, life: Life, { body, message, attempt }: BatchItem<unknown>, group: string): Ended {
  world.stir();
  const ended = world.recorder.began({ topic: message.topic, group, id: message.id, attempt, body });
  const forget = life.atDeath(() => ended("crashed"));
  return (state, error) => {
    forget();
    ended(state, error);
  };
}

/** A handler that is not async stays so. */
function watch<T>(
  world: World,
  life: Life,
  work: () => T | PromiseLike<T>,
  handled: (result: T) => void,
  failed: (error: unknown) => void,
): unknown {
  let result: T | PromiseLike<T>;
  try {
    result = work();
  } catch (error) {
    failed(error);
    throw error;
  }
  if (isThenable(result)) {
    return Promise.resolve(result).then(
      (value) => {
        world.stir();
        if (life.isDead) return silence();
        handled(value);
        return value;
      },
      (error: unknown) => {
        world.stir();
        if (life.isDead) return silence();
        failed(error);
        throw error;
      },
    );
  }
  handled(result);
  return result;
}

function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}

function mortalContext(life: Life, ctx: Context): Context {
  const shared = mortalBatchContext(life, ctx);
  return {
    message: ctx.message,
    group: ctx.group,
    attempt: ctx.attempt,
    position: ctx.position,
    get signal() {
      return shared.signal;
    },
    get tx() {
      return ctx.tx;
    },
    publish: shared.publish,
    retry: (options) => ctx.retry(options),
    deadLetter: (reason) => ctx.deadLetter(reason),
  };
}

function mortalBatchContext(life: Life, ctx: BatchContext): BatchContext {
  let signal: AbortSignal | undefined;
  return {
    group: ctx.group,
    get signal() {
      return (signal ??= mortalSignal(life, ctx.signal));
    },
    get tx() {
      return ctx.tx;
    },
    async publish<Input, Output>(contract: Contract<Input, Output>, body: Input, options?: PublishChoices) {
      if (life.isDead) return silence();
      try {
        const message = await ctx.publish(contract, body, options);
        return life.isDead ? await silence() : message;
      } catch (error) {
        if (life.isDead) return silence();
        throw error;
      }
    },
  };
}

/** A dead bus is closed in the end, and nobody of its process may hear that. */
function mortalSignal(life: Life, signal: AbortSignal): AbortSignal {
  const own = new AbortController();
  const onAbort = (): void => {
    if (!life.isDead) own.abort(signal.reason);
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  return own.signal;
}
