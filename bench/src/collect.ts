/** Before a round, so that it does not pay for the garbage of another. */
export function collect(): void {
  globalThis.gc?.();
}

/** Heap and what lies outside of it, after two collections: the first may free what held the rest. */
export function memoryBytes(): number {
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
