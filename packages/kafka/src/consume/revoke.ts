import type { Clock } from "@waybill/core";
import type { Part } from "./part.ts";

/** Asks its reader for it back. False: it did not answer in time, and has lost it; what it holds is suspect. */
export async function revoke(part: Part, clock: Clock, drainMs: number): Promise<boolean> {
  const { reader, name, generation } = part;
  part.state = "revoking";
  if (reader === undefined) return true;
  const { promise: late, resolve } = Promise.withResolvers<boolean>();
  const timer = clock.after(drainMs, () => resolve(false));
  const answer = async (): Promise<boolean> => {
    await reader.onEvent({ kind: "revoked", part: name, deadlineMs: performance.now() + drainMs });
    return true;
  };
  const inTime = await Promise.race([answer().catch(() => true), late]);
  timer.cancel();
  if (!inTime) void reader.onEvent({ kind: "lost", part: name, generation });
  return inTime;
}
