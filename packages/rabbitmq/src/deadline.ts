import { WaybillError } from "@waybill/core";

/** Rejects with `CONNECTION_LOST` when no answer comes in time; what comes later is let go of. */
export function answered<T>(what: string, work: Promise<T>, limitMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new WaybillError("CONNECTION_LOST", `${what}: no answer within ${limitMs} ms`)), limitMs);
    work.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}

/** Ends early, and without an error, when the signal fires. */
export function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, delayMs);
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
  });
}

export function aborted(): WaybillError {
  return new WaybillError("ABORTED", "the caller's signal fired");
}
