import { WaybillError } from "@waybill/core";
import type { Attached } from "./attached.ts";
import type { TopologyMaker } from "./topology.ts";

/** Compares the broker's view of our consumers with ours: one that is attached to nothing would wait for ever. */
export interface Watch {
  stop(): void;
}

export interface WatchOptions {
  readonly everyMs: number;
  readonly topology: TopologyMaker;
  readonly attached: ReadonlySet<Attached>;
  readonly isUp: () => boolean;
}

/** One look may fall between the two halves of a change. */
const looks = 2;

export function startWatch({ everyMs, topology, attached, isUp }: WatchOptions): Watch {
  const suspects = new Map<Attached, number>();
  let stopped = false;
  let timer = setTimeout(() => void look(), everyMs);
  timer.unref();

  async function look(): Promise<void> {
    if (isUp()) await compare().catch(() => undefined);
    if (stopped) return;
    timer = setTimeout(() => void look(), suspects.size > 0 ? Math.min(everyMs, 1_000) : everyMs);
    timer.unref();
  }

  async function compare(): Promise<void> {
    const ours = new Map<string, Attached[]>();
    for (const each of attached) {
      const queue = each.watched?.queue;
      if (queue === undefined) suspects.delete(each);
      else ours.set(queue, [...(ours.get(queue) ?? []), each]);
    }
    for (const [queue, members] of ours) {
      if (queue.startsWith("amq.gen-")) continue;
      const seen = await topology.look(queue);
      // Fewer than we have ourselves: at least one of ours is not there, and nobody can say which.
      const healthy = seen !== undefined && seen.consumerCount >= members.length;
      for (const each of members) judge(each, queue, healthy);
    }
    for (const each of suspects.keys()) if (!attached.has(each)) suspects.delete(each);
  }

  function judge(each: Attached, queue: string, healthy: boolean): void {
    if (healthy || each.watched?.queue !== queue) {
      suspects.delete(each);
      return;
    }
    const times = (suspects.get(each) ?? 0) + 1;
    suspects.set(each, times);
    if (times < looks) return;
    suspects.delete(each);
    topology.forget(queue);
    each.fail(new WaybillError("CONNECTION_LOST", `the broker does not know our consumer of queue "${queue}"`));
  }

  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
