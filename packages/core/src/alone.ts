import type { Executor } from "./executor.ts";
import type { Item } from "./item.ts";
import type { SettleOutcome } from "./transport.ts";

/**
 * Crash-poison: a message that may have ended its process is handled alone, the attempt written down first, so that a
 * second crash can be laid at its door and at no neighbour's. One after another, with nothing else running.
 */
export interface AloneQueue {
  add(item: Item): void;
  readonly active: boolean;
  visit(see: (item: Item) => void): void;
  withdraw(fits: (item: Item) => boolean): Item[];
  /** Its attempt has ended, one way or another. */
  ended(item: Item): void;
  close(): Item[];
}

export interface AloneOptions {
  readonly executor: Executor;
  /** Gives back all that has not started, and lets nothing in or start until it is called with false. */
  readonly holdIntake: (hold: boolean) => Promise<void>;
  /** All settlements so far are with the transport. */
  readonly flush: () => Promise<void>;
  /** Writes the attempt down; `lost` where the delivery is not ours any more, "moved" where a copy carries the note instead. */
  readonly note: (item: Item) => Promise<SettleOutcome | "moved">;
}

export function createAloneQueue({ executor, holdIntake, flush, note }: AloneOptions): AloneQueue {
  let queue: Item[] = [];
  let current: Item | undefined;
  let onEnded: (() => void) | undefined;
  let working = false;
  let closed = false;

  async function work(): Promise<void> {
    working = true;
    await holdIntake(true);
    await executor.quiet();
    await flush();
    for (let item = queue.shift(); item !== undefined && !closed; item = queue.shift()) {
      if (item.gone) continue;
      current = item;
      await runAlone(item);
      current = undefined;
    }
    working = false;
    if (closed) return;
    await holdIntake(false);
  }

  async function runAlone(item: Item): Promise<void> {
    const outcome = await note(item);
    if (outcome === "lost" || outcome === "moved" || item.gone || closed) {
      item.gone = true;
      return;
    }
    await new Promise<void>((resolve) => {
      onEnded = resolve;
      executor.alone(item);
    });
    onEnded = undefined;
    await flush();
  }

  return {
    add(item) {
      queue.push(item);
      if (!working) void work();
    },
    get active() {
      return working;
    },
    visit(see) {
      for (const item of queue) see(item);
      // While it runs the executor shows it; while its note is written only we do.
      if (current !== undefined && current.running === undefined) see(current);
    },
    withdraw(fits) {
      const taken = queue.filter(fits);
      queue = queue.filter((item) => !fits(item));
      for (const item of taken) item.gone = true;
      return taken;
    },
    ended(item) {
      if (item === current) onEnded?.();
    },
    close() {
      closed = true;
      const left = queue;
      queue = [];
      for (const item of left) item.gone = true;
      onEnded?.();
      return left;
    },
  };
}
