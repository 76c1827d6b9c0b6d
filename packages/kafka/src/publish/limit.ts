import { WaybillError, type Certainty, type Clock, type WaybillError as Failure } from "@waybill/core";

/** How long a call may take: the delivery time-out, or less when the caller's signal fires. */
export interface Limit {
  /** Resolves when it is over. */
  readonly over: Promise<void>;
  isOver(): boolean;
  /** Why nothing more is tried. */
  error(certainty: Certainty, cause: Failure | undefined): Failure;
  /** Call it when all is done. */
  end(): void;
}

export function createLimit(clock: Clock, timeoutMs: number, signals: readonly AbortSignal[]): Limit {
  const over = Promise.withResolvers<void>();
  let why: "time" | "aborted" | undefined;
  const timer = clock.after(timeoutMs, () => finish("time"));
  const abort = (): void => finish("aborted");

  function finish(reason: "time" | "aborted"): void {
    why ??= reason;
    end();
    over.resolve();
  }

  function end(): void {
    timer.cancel();
    for (const signal of signals) signal.removeEventListener("abort", abort);
  }

  for (const signal of signals) {
    if (signal.aborted) finish("aborted");
    else signal.addEventListener("abort", abort, { once: true });
  }
  return {
    over: over.promise,
    isOver: () => why !== undefined,
    error(certainty, cause) {
      if (why === "aborted") return new WaybillError("ABORTED", "the publish was given up", { certainty, cause });
      if (certainty === "definite") return new WaybillError("CONNECTION", "the broker could not be reached in time", { cause });
      return new WaybillError("PUBLISH_TIMEOUT", `no confirm within ${timeoutMs} ms`, { cause });
    },
    end,
  };
}
