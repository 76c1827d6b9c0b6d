import { systemClock, type Clock, type Timer } from "./clock.ts";
import { assertOptions, type SpecFor } from "./config.ts";
import { withDeadline } from "./deadline.ts";
import { createDeque } from "./deque.ts";
import { durationMs, type Duration } from "./duration.ts";
import { WaybillError } from "./errors.ts";
import { createKeepAlive } from "./keep-alive.ts";

export interface BatchProcessorOptions<T, R> {
  /** Items of one batch at most. */
  readonly size: number;
  /** How long the first item of a batch waits for others. */
  readonly interval: Duration;
  /** Of one batch at most, by `sizeOf`; a larger item goes alone. */
  readonly maxBytes?: number;
  readonly sizeOf?: (item: T) => number;
  /** Items that wait for their batch at most; those that are being processed are not counted. */
  readonly maxWaiting: number;
  /** Batches at once. Default 1: in order. */
  readonly concurrency?: number;
  /**
   * Answers one result per item, in order, an `Error` for each that failed; or nothing: all went well, each with `undefined`.
   * A throw fails them all. The signal fires when a close has waited long enough.
   */
  readonly process: (items: readonly T[], options: { readonly signal: AbortSignal }) => Promise<readonly (R | Error)[] | void>;
  readonly clock?: Clock;
}

export interface BatchProcessor<T, R> extends AsyncDisposable {
  /**
   * Resolves with the item's own result, rejects with its own error; awaiting it is what slows a fast producer down.
   * Rejects with `BUFFER_FULL` (beyond `maxWaiting`), `CLOSED`, or `ABORTED` where the signal fires before its batch has begun.
   */
  add(item: T, options?: { readonly signal?: AbortSignal }): Promise<R>;
  /** Starts what waits without waiting for more; resolves when everything added before has its result. Never rejects. */
  flush(): Promise<void>;
  /**
   * Takes no more, processes what waits, until `timeout` (default 30 s) is over. Then what has not begun is `CLOSED` (definite), what
   * has is `CLOSED` (indefinite), and the signal of `process` fires. Resolves with how many were left so. Harmless twice.
   */
  close(options?: { readonly timeout?: Duration }): Promise<number>;
  stats(): { readonly waiting: number; readonly waitingBytes: number; readonly processing: number; readonly batches: number };
}

interface Entry<T, R> {
  readonly item: T;
  readonly order: number;
  readonly bytes: number;
  readonly addedAt: number;
  readonly resolve: (result: R) => void;
  readonly reject: (error: unknown) => void;
  unlisten: (() => void) | undefined;
  settled: boolean;
}

const spec: SpecFor<BatchProcessorOptions<unknown, unknown>> = {
  size: { type: "integer", required: true, min: 1, max: 1_000_000 },
  interval: { type: "duration", required: true },
  maxBytes: { type: "integer", min: 1 },
  sizeOf: { type: "function" },
  maxWaiting: { type: "integer", required: true, min: 1 },
  concurrency: { type: "integer", min: 1, max: 10_000 },
  process: { type: "function", required: true },
  clock: { type: "shape", methods: ["monotonic", "after"], name: "a Clock" },
};

/** Throws `CONFIG`. */
export function createBatchProcessor<T, R = void>(options: BatchProcessorOptions<T, R>): BatchProcessor<T, R> {
  assertOptions(options, spec, "batchProcessor");
  const { size, maxWaiting, maxBytes = Infinity, sizeOf, concurrency = 1, process, clock = systemClock } = options;
  const intervalMs = durationMs(options.interval, "batchProcessor.interval");
  if (maxBytes < Infinity && sizeOf === undefined) {
    throw new WaybillError("CONFIG", "batchProcessor.sizeOf: expected a function, as maxBytes needs it, found nothing");
  }

  if (maxWaiting < size) {
    throw new WaybillError("CONFIG", `batchProcessor.maxWaiting: expected at least size (${size}), found the number ${maxWaiting}`);
  }

  /** In order; those that were aborted stay in it until they are met. */
  const queue = createDeque<Entry<T, R>>();
  const running = new Set<readonly Entry<T, R>[]>();
  const flushes = new Set<{ readonly upTo: number; readonly done: () => void }>();
  const ending = new AbortController();
  const keepAlive = createKeepAlive();
  let waiting = 0;
  let waitingBytes = 0;
  let batches = 0;
  let lastOrder = 0;
  /** An item up to here waits for no others. */
  let dueUpTo = 0;
  let timer: Timer | undefined;
  let isClosed = false;
  let closing: Promise<number> | undefined;

  function first(): Entry<T, R> | undefined {
    while (queue.peek()?.settled === true) queue.shift();
    return queue.peek();
  }

  /** Starts what may start; else sees to it that the first one does not wait for ever. */
  function start(): void {
    let head = first();
    while (head !== undefined && running.size < concurrency && isReady(head)) {
      void run(take());
      head = first();
    }
    keepAlive.set(head !== undefined || running.size > 0);
    if (head === undefined || running.size >= concurrency) {
      timer?.cancel();
      timer = undefined;
    } else {
      timer ??= clock.after(Math.max(0, head.addedAt + intervalMs - clock.monotonic()), onTimer);
    }
  }

  function isReady(head: Entry<T, R>): boolean {
    if (waiting >= size || waitingBytes >= maxBytes || head.order <= dueUpTo) return true;
    return clock.monotonic() - head.addedAt >= intervalMs;
  }

  function onTimer(): void {
    timer = undefined;
    start();
  }

  function take(): Entry<T, R>[] {
    const batch: Entry<T, R>[] = [];
    let bytes = 0;
    for (let next = first(); next !== undefined && batch.length < size; next = first()) {
      if (batch.length > 0 && bytes + next.bytes > maxBytes) break;
      queue.shift();
      leave(next);
      bytes += next.bytes;
      batch.push(next);
    }
    // The timer was that of an item which is no longer waiting.
    timer?.cancel();
    timer = undefined;
    running.add(batch);
    return batch;
  }

  async function run(batch: readonly Entry<T, R>[]): Promise<void> {
    batches += 1;
    const items = batch.map(({ item }) => item);
    try {
      // Not in the caller's stack: what `process` adds finds everything in its place.
      await Promise.resolve();
      deliver(batch, await process(items, { signal: ending.signal }));
    } catch (error) {
      for (const entry of batch) settle(entry, undefined, error, true);
    }
    running.delete(batch);
    start();
    tellFlushes();
  }

  function deliver(batch: readonly Entry<T, R>[], results: readonly (R | Error)[] | void): void {
    if (results !== undefined && (!Array.isArray(results) || results.length !== batch.length)) {
      const found = Array.isArray(results) ? `${results.length} results` : "no array";
      throw new WaybillError("HANDLER", `process answered ${found} for ${batch.length} items`);
    }
    batch.forEach((entry, index) => {
      const result: R | Error | undefined = (results as readonly (R | Error)[] | undefined)?.[index];
      settle(entry, result as R, result, isError(result));
    });
  }

  function settle(entry: Entry<T, R>, result: R | undefined, error: unknown, failed: boolean): void {
    if (entry.settled) return;
    entry.settled = true;
    entry.unlisten?.();
    if (failed) entry.reject(error);
    else entry.resolve(result as R);
  }

  /** It waits no longer. */
  function leave(entry: Entry<T, R>): void {
    waiting -= 1;
    waitingBytes -= entry.bytes;
    entry.unlisten?.();
    entry.unlisten = undefined;
  }

  function add(item: T, { signal }: { readonly signal?: AbortSignal } = {}): Promise<R> {
    if (isClosed) return Promise.reject(new WaybillError("CLOSED", "the batch processor is closed"));
    if (signal?.aborted === true) return Promise.reject(aborted());
    if (waiting >= maxWaiting) return Promise.reject(new WaybillError("BUFFER_FULL", `${waiting} items wait for their batch`));
    return new Promise((resolve, reject) => {
      const bytes = sizeOf === undefined ? 0 : sizeOf(item);
      if (!(bytes >= 0 && bytes < Infinity)) throw new WaybillError("CONFIG", "batchProcessor.sizeOf: expected a number of bytes");
      const entry: Entry<T, R> = {
        item,
        order: (lastOrder += 1),
        bytes,
        addedAt: clock.monotonic(),
        resolve,
        reject,
        unlisten: undefined,
        settled: false,
      };
      if (signal !== undefined) listen(entry, signal);
      queue.push(entry);
      waiting += 1;
      waitingBytes += bytes;
      start();
    });
  }

  function listen(entry: Entry<T, R>, signal: AbortSignal): void {
    const onAbort = (): void => {
      leave(entry);
      settle(entry, undefined, aborted(), true);
      // Those that were aborted must not pile up behind one that waits.
      if (queue.size > 64 && queue.size > 2 * waiting) queue.remove(({ settled }) => settled);
      start();
      tellFlushes();
    };
    signal.addEventListener("abort", onAbort, { once: true });
    entry.unlisten = () => signal.removeEventListener("abort", onAbort);
  }

  function isDone(upTo: number): boolean {
    if ((first()?.order ?? Infinity) <= upTo) return false;
    for (const [entry] of running) if (entry !== undefined && entry.order <= upTo) return false;
    return true;
  }

  function tellFlushes(): void {
    for (const flush of flushes) {
      if (!isDone(flush.upTo)) continue;
      flushes.delete(flush);
      flush.done();
    }
  }

  function flush(): Promise<void> {
    const upTo = lastOrder;
    dueUpTo = Math.max(dueUpTo, upTo);
    start();
    if (isDone(upTo)) return Promise.resolve();
    return new Promise((done) => flushes.add({ upTo, done }));
  }

  async function shut(timeoutMs: number): Promise<number> {
    await withDeadline(flush(), timeoutMs, clock);
    timer?.cancel();
    ending.abort();
    let left = 0;
    const giveUp = (entry: Entry<T, R>, certainty: "definite" | "indefinite"): void => {
      if (entry.settled) return;
      left += 1;
      settle(entry, undefined, new WaybillError("CLOSED", `the batch processor was closed: ${whatOf[certainty]}`, { certainty }), true);
    };
    for (const batch of running) for (const entry of batch) giveUp(entry, "indefinite");
    for (const entry of queue.clear()) {
      if (!entry.settled) leave(entry);
      giveUp(entry, "definite");
    }
    tellFlushes();
    keepAlive.set(false);
    return left;
  }

  const processor: BatchProcessor<T, R> = {
    add,
    flush,
    close({ timeout = "30s" } = {}) {
      if (closing !== undefined) return closing;
      const timeoutMs = durationMs(timeout, "close.timeout");
      isClosed = true;
      closing = shut(timeoutMs);
      return closing;
    },
    stats: () => ({ waiting, waitingBytes, processing: [...running].reduce((sum, batch) => sum + batch.length, 0), batches }),
    async [Symbol.asyncDispose]() {
      await processor.close();
    },
  };
  return processor;
}

const whatOf = { definite: "the item was not processed", indefinite: "nobody knows whether the item was processed" } as const;

function aborted(): WaybillError {
  return new WaybillError("ABORTED", "the signal fired before the item's batch had begun");
}

function isError(value: unknown): boolean {
  try {
    return value instanceof Error;
  } catch {
    return false;
  }
}
