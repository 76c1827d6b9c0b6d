/** Ends the wait when the signal fires; the work goes on. */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T | "aborted"> {
  let fire: (() => void) | undefined;
  const aborted = new Promise<"aborted">((resolve) => {
    fire = () => resolve("aborted");
    if (signal.aborted) fire();
    else signal.addEventListener("abort", fire, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", fire!);
  }
}
