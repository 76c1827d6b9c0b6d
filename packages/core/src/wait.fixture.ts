/** Resolves when `condition` holds; rejects when it does not within the deadline. */
export async function waitFor(condition: () => boolean | Promise<boolean>, deadlineMs = 5_000): Promise<void> {
  const until = performance.now() + deadlineMs;
  while (!(await condition())) {
    if (performance.now() > until) throw new Error(`not within ${deadlineMs} ms: ${String(condition)}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
