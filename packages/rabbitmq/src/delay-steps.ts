const s = 1_000;
const m = 60 * s;
const h = 60 * m;
const d = 24 * h;

/** No two neighbours are further apart than by a third (below a second: by a half, below 100 ms: by 2.5). */
export const defaultSteps: readonly number[] = [
  ...[10, 20, 50, 75, 100, 150, 200, 250, 300, 400, 500, 600, 800],
  ...[1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 45, 50].map((count) => count * s),
  ...[1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 45, 50].map((count) => count * m),
  ...[1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 15, 18, 20].map((count) => count * h),
  ...[1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 10, 12, 14, 18, 21, 25, 30].map((count) => count * d),
];

/** The shortest step that is not shorter than the delay; undefined: there is none so long. `steps` ascend. */
export function stepFor(delayMs: number, steps: readonly number[]): number | undefined {
  let low = 0;
  let high = steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((steps[middle] as number) < delayMs) low = middle + 1;
    else high = middle;
  }
  return steps[low];
}
