import type { Clock } from "./clock.ts";

/** True if it settled in time. A rejection counts as settled. The wait ends, the work may not. */
export async function withDeadline(work: Promise<unknown>, limitMs: number, clock: Clock): Promise<boolean> {
  let timer: { cancel(): void } | undefined;
  const late = new Promise<false>((resolve) => {
    timer = clock.after(limitMs, () => resolve(false));
  });
  const inTime = work.then(
    () => true as const,
    () => true as const,
  );
  const settledFirst = await Promise.race([inTime, late]);
  timer?.cancel();
  return settledFirst;
}
