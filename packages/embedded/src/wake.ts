const everyMs = 1;

/** Tells the worker of commits: of the first at once, of those in the millisecond after it together. */
export function createWake(tell: () => void): () => void {
  let toldAt = Number.NEGATIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  const now = (): void => {
    timer = undefined;
    toldAt = performance.now();
    tell();
  };
  return () => {
    if (timer !== undefined) return;
    if (performance.now() - toldAt >= everyMs) now();
    else timer = setTimeout(now, everyMs);
  };
}
