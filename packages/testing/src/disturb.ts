import type { Delivery } from "@waybill/core";
import { silence, type Life } from "./life.ts";
import type { World } from "./world.ts";

type Batch = readonly Delivery[];
type Result = IteratorResult<Batch, undefined>;

export interface DisturbOptions {
  readonly name: string;
  /** What comes later may not overtake: one that waits holds up all behind it. */
  readonly keepsOrder: boolean;
}

/** For how long one that is to be overtaken waits at most, should nothing come. */
const overtakeMs = 1_000;

/** Deliveries as they come, but for those that the seed holds back for a while. */
export function disturb(world: World, life: Life, source: AsyncIterable<Batch>, options: DisturbOptions): AsyncIterable<Batch> {
  return { [Symbol.asyncIterator]: () => createIterator(world, life, source[Symbol.asyncIterator](), options) };
}

function createIterator(
  world: World,
  life: Life,
  source: AsyncIterator<Batch, unknown>,
  { name, keepsOrder }: DisturbOptions,
): AsyncIterator<Batch, undefined> {
  const { faults, random } = world;
  const ready: Batch[] = [];
  /** With `keepsOrder`: what waits behind the one that is held back; undefined: nothing is. */
  let behind: Delivery[] | undefined;
  let overtaken: (() => void)[] = [];
  let waiting: { readonly resolve: (result: Result) => void; readonly reject: (error: unknown) => void } | undefined;
  let asked = false;
  let sourceEnded = false;
  let held = 0;
  let ended = false;
  let failure: { readonly error: unknown } | undefined;

  function ask(): void {
    if (asked || sourceEnded) return;
    asked = true;
    source.next().then(
      (result) => {
        asked = false;
        world.stir();
        if (result.done === true) sourceEnded = true;
        else arrived(result.value);
        answer();
      },
      (error: unknown) => {
        failure = { error };
        answer();
      },
    );
  }

  function arrived(batch: Batch): void {
    const now: Delivery[] = [];
    const passed = overtaken;
    overtaken = [];
    for (const delivery of batch) {
      if (behind !== undefined) behind.push(delivery);
      else if (random.chance(faults.delay)) hold(delivery, random.upTo(faults.maxDelayMs));
      else if (!keepsOrder && random.chance(faults.reorder)) hold(delivery, overtakeMs, true);
      else now.push(delivery);
    }
    if (now.length > 0) {
      ready.push(now);
      for (const release of passed) release();
    } else overtaken = [...passed, ...overtaken];
  }

  function hold(delivery: Delivery, delayMs: number, untilOvertaken = false): void {
    held += 1;
    if (keepsOrder) behind = [];
    let released = false;
    const release = (): void => {
      if (released || ended || life.isDead) return;
      released = true;
      timer.cancel();
      held -= 1;
      ready.push(keepsOrder ? [delivery, ...(behind ?? [])] : [delivery]);
      behind = undefined;
      answer();
    };
    const timer = life.clock.after(delayMs, release);
    if (untilOvertaken) overtaken.push(release);
  }

  function answer(): void {
    if (waiting === undefined) return;
    if (life.isDead && !ended) return;
    const { resolve, reject } = waiting;
    const batch = ended ? undefined : ready.shift();
    if (batch !== undefined) {
      if (!life.pass(`hand-over of ${name}`)) return;
      waiting = undefined;
      resolve({ done: false, value: batch });
    } else if (failure !== undefined && !ended) {
      waiting = undefined;
      reject(failure.error);
    } else if (ended || (sourceEnded && held === 0)) {
      waiting = undefined;
      resolve({ done: true, value: undefined });
    } else ask();
  }

  return {
    next() {
      if (life.isDead && !ended) return silence();
      return new Promise((resolve, reject) => {
        waiting = { resolve, reject };
        answer();
      });
    },
    async return() {
      ended = true;
      answer();
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
}
