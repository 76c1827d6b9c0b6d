/**
 * One iteration of several. A source is asked while somebody waits, and then once, so none is read ahead by more than a batch.
 * Ends when all have ended, or fails with the first that fails. Ending it ends all, also while a batch is waited for.
 */
export function merge<T>(sources: readonly AsyncIterable<T>[], change: (value: T, index: number) => T): AsyncIterable<T> {
  return { [Symbol.asyncIterator]: () => iterate(sources, change) };
}

function iterate<T>(sources: readonly AsyncIterable<T>[], change: (value: T, index: number) => T): AsyncIterator<T, undefined> {
  const iterators = sources.map((source) => source[Symbol.asyncIterator]());
  const ready: { readonly index: number; readonly value: T }[] = [];
  const failures: unknown[] = [];
  const asked = new Set<number>();
  const over = new Set<number>();
  let ended = false;
  let waiting: PromiseWithResolvers<IteratorResult<T, undefined>> | undefined;

  function ask(index: number): void {
    if (asked.has(index) || over.has(index)) return;
    asked.add(index);
    iterators[index]?.next().then(
      (result) => {
        if (result.done === true) over.add(index);
        else ready.push({ index, value: result.value });
        answer();
      },
      (error: unknown) => {
        failures.push(error);
        answer();
      },
    );
  }

  function answer(): void {
    if (waiting === undefined) return;
    const { resolve, reject } = waiting;
    const one = ended ? undefined : ready.shift();
    if (one !== undefined) {
      waiting = undefined;
      asked.delete(one.index);
      resolve({ done: false, value: change(one.value, one.index) });
    } else if (!ended && failures.length > 0) {
      waiting = undefined;
      ended = true;
      reject(failures[0]);
    } else if (ended || over.size === iterators.length) {
      waiting = undefined;
      resolve({ done: true, value: undefined });
    }
  }

  return {
    next() {
      waiting = Promise.withResolvers<IteratorResult<T, undefined>>();
      const { promise } = waiting;
      for (let index = 0; index < iterators.length; index += 1) ask(index);
      answer();
      return promise;
    },
    async return() {
      ended = true;
      answer();
      await Promise.allSettled(iterators.map(async (iterator) => iterator.return?.()));
      return { done: true, value: undefined };
    },
  };
}
