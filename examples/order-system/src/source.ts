import type { InputLine } from "./input.ts";
import type { Incoming } from "./intake.ts";
import type { Order } from "./contracts.ts";

/** Generated orders on their way to the shop. */
export async function* generated(orders: AsyncIterable<Order>): AsyncGenerator<Incoming> {
  for await (const order of orders) yield { order, source: "generator" };
}

/** The orders of an input. A line without an id gets one of this run and line, so that it can be handed in again. */
export async function* fromInput(
  lines: AsyncIterable<InputLine>,
  run: number,
  onRejected: (line: number, reason: string) => void,
): AsyncGenerator<Incoming> {
  for await (const read of lines) {
    if (!read.ok) onRejected(read.line, read.reason);
    else yield { order: { ...read.order, id: read.order.id ?? `run-${run}-line-${read.line}` }, source: "input", line: read.line };
  }
}

/** Reads up to `most` ahead to learn how many there are; `total` is undefined when there are more. */
export async function countAhead<T>(
  source: AsyncIterable<T>,
  most: number,
): Promise<{ readonly total: number | undefined; readonly source: AsyncIterable<T> }> {
  const iterator = source[Symbol.asyncIterator]();
  const ahead: T[] = [];
  while (ahead.length <= most) {
    const next = await iterator.next();
    if (next.done === true) return { total: ahead.length, source: again(ahead, undefined) };
    ahead.push(next.value);
  }
  return { total: undefined, source: again(ahead, iterator) };
}

async function* again<T>(ahead: T[], rest: AsyncIterator<T> | undefined): AsyncGenerator<T> {
  try {
    for (let next = ahead.shift(); next !== undefined; next = ahead.shift()) yield next;
    for (let next = await rest?.next(); next !== undefined && next.done !== true; next = await rest?.next()) yield next.value;
  } finally {
    await rest?.return?.();
  }
}

/** The same, ended by the signal, also while it waits for more. What the source throws after that is no news. */
export async function* abortable<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]();
  const { promise: stopped, resolve: stop } = Promise.withResolvers<undefined>();
  const onAbort = (): void => stop(undefined);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    while (!signal.aborted) {
      const following = iterator.next();
      following.catch(() => {});
      const next = await Promise.race([following, stopped]);
      if (next === undefined || next.done === true) return;
      yield next.value;
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
