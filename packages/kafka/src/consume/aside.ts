import type { Message } from "@waybill/core";
import type { KafkaSession } from "../session/session.ts";
import { delayLog, shortestStepMs, type GroupLog } from "./group-logs.ts";
import type { Part } from "./part.ts";
import type { Handle } from "./progress.ts";
import { createWaiting } from "./waiting.ts";

/** Until when a copy lies in the log of its step; taken off again when it is read. */
export const holdHeader = "waybill-hold-until";

/** Messages that are not due yet. A short wait is waited out here; a long one in a log of the group, so that no commit waits for it. */
export interface Aside {
  /** Without room its partition has to wait. */
  hasRoom(leftMs: number): boolean;
  /** Looks after it; false: there is no room. */
  put(handle: Handle): boolean;
  /** The next that has become due. */
  due(): Handle | undefined;
  /** Of this part: handed out by its progress, and not to the subscription. */
  countOf(part: Part): number;
  bytesOf(part: Part): number;
  forget(part: Part): void;
  close(): void;
}

export interface AsideOptions {
  readonly session: KafkaSession;
  readonly logs: (message: Message) => readonly GroupLog[];
  readonly wake: () => void;
  /** Its copy is written: the original is finished. */
  readonly moved: (handle: Handle) => void;
}

const mostHere = 1_000;
const mostMoving = 1_000;
const againMs = 1_000;

export function createAside({ session, logs, wake, moved }: AsideOptions): Aside {
  const { clock } = session;
  const waiting = createWaiting<Handle>(clock, wake);
  const counts = new Map<Part, { count: number; bytes: number }>();
  let moving: Handle[] = [];
  let onItsWay = 0;
  let working = false;
  let closed = false;

  function count({ part, bytes }: Handle, by: 1 | -1): void {
    const entry = counts.get(part) ?? { count: 0, bytes: 0 };
    entry.count += by;
    entry.bytes += by * bytes;
    counts.set(part, entry);
  }

  async function move(): Promise<void> {
    await Promise.resolve();
    while (moving.length > 0 && !closed) {
      const batch = moving.splice(0, 200).filter(({ part }) => part.state !== "gone");
      onItsWay = batch.length;
      const outcomes = await session.publish(batch.map(copyOf));
      for (let index = 0; index < batch.length; index += 1) {
        const handle = batch[index] as Handle;
        count(handle, -1);
        if (outcomes[index]?.ok === true) moved(handle);
        else keep(handle, againMs);
      }
      onItsWay = 0;
      wake();
    }
    working = false;
  }

  /** The next time it comes up it is moved again, or delivered. */
  function keep(handle: Handle, delayMs: number): void {
    count(handle, 1);
    waiting.add(handle, delayMs);
  }

  function copyOf({ message }: Handle): Message {
    const now = clock.now();
    const { name, stepMs } = delayLog(logs(message), (message.deliverAt ?? now) - now) ?? logs(message)[0]!;
    const headers = Object.assign(Object.create(null) as Record<string, string>, message.headers);
    if (stepMs !== undefined) headers[holdHeader] = String(now + stepMs);
    return { ...message, topic: name, group: undefined, headers };
  }

  function put(handle: Handle): boolean {
    const leftMs = (handle.message.deliverAt ?? 0) - clock.now();
    if (leftMs < shortestStepMs) {
      if (waiting.size >= mostHere) return false;
      keep(handle, leftMs);
      return true;
    }
    if (moving.length + onItsWay >= mostMoving) return false;
    count(handle, 1);
    moving.push(handle);
    if (!working) {
      working = true;
      void move();
    }
    return true;
  }

  return {
    hasRoom: (leftMs) => (leftMs < shortestStepMs ? waiting.size < mostHere : moving.length + onItsWay < mostMoving),
    put,
    due() {
      for (let handle = waiting.take(); handle !== undefined; handle = waiting.take()) {
        count(handle, -1);
        if (handle.part.state !== "ready") continue;
        const leftMs = (handle.message.deliverAt ?? 0) - clock.now();
        if (leftMs <= 0) return handle;
        // The copy could not be written, or a clock was set.
        if (leftMs >= shortestStepMs && put(handle)) continue;
        keep(handle, Math.min(leftMs, shortestStepMs));
      }
      return undefined;
    },
    countOf: (part) => counts.get(part)?.count ?? 0,
    bytesOf: (part) => counts.get(part)?.bytes ?? 0,
    forget: (part) => void counts.delete(part),
    close() {
      closed = true;
      waiting.close();
      moving = [];
    },
  };
}
