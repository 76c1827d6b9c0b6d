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

/** True if it settled before `signal` fired. A rejection counts as settled. */
export async function settledBefore(work: Promise<unknown>, signal: AbortSignal): Promise<boolean> {
  const inTime = work.then(
    () => true as const,
    () => true as const,
  );
  if (signal.aborted) return Promise.race([inTime, Promise.resolve(false)]);
  const { promise: late, resolve } = Promise.withResolvers<false>();
  const onAbort = (): void => resolve(false);
  signal.addEventListener("abort", onAbort, { once: true });
  const settledFirst = await Promise.race([inTime, late]);
  signal.removeEventListener("abort", onAbort);
  return settledFirst;
}
