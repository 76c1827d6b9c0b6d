import type { KafkaSession } from "../session/session.ts";

const idleMs = 1_000;
const users = new WeakMap<KafkaSession, Map<string, number>>();

/** Connections for questions now and then: closed when nobody has used them for a while. */
export async function briefly<T>(session: KafkaSession, purpose: string, work: () => Promise<T>): Promise<T> {
  let counts = users.get(session);
  if (counts === undefined) users.set(session, (counts = new Map<string, number>()));
  const of = counts;
  of.set(purpose, (of.get(purpose) ?? 0) + 1);
  try {
    return await work();
  } finally {
    session.clock.after(idleMs, () => {
      const left = (of.get(purpose) ?? 1) - 1;
      of.set(purpose, left);
      if (left === 0) session.release(purpose);
    });
  }
}
