/** Before a round, so that it does not pay for the garbage of another. Twice: the first may free what held the rest. */
export function collect(): void {
  globalThis.gc?.();
  globalThis.gc?.();
}

/** Heap and what lies outside of it, after a collection. */
export function memoryBytes(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
