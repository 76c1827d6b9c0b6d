const cell = new Int32Array(new SharedArrayBuffer(4));

/** Blocks the thread: for the worker, and for the few moments in which a file is opened. Fractions count. */
export function sleepMs(delayMs: number): void {
  Atomics.wait(cell, 0, 0, delayMs);
}
