import type { Clock, Timer } from "@waybill/core";
import type { TestClock } from "./virtual-clock.ts";
import type { World } from "./world.ts";

/**
 * The life of one process: from its start to its crash or its close. Once it is dead nothing that it called answers, and
 * none of its timers runs.
 */
export interface Life {
  readonly clock: Clock;
  readonly isDead: boolean;
  /** Resolves at its death. */
  readonly died: Promise<void>;
  /**
   * A call into the transport or a store. There is a crash point before it, and one between its effect and its answer.
   * `isReal`: it takes real time, and the clock must wait for it.
   */
  call<T>(label: string, run: () => Promise<T>, isReal?: boolean): Promise<T>;
  /** A crash point of its own. False: dead. */
  pass(label: string): boolean;
  kill(): void;
  /** Runs it at the death. Answers how to forget it. */
  atDeath(run: () => void): () => void;
  /** Its timers run at once from now on: for the closing of a bus whose process is dead. */
  hurry(): void;
  /** None of its timers runs from now on. */
  rest(): void;
}

/** What a dead process is told: nothing, ever. */
export function silence<T>(): Promise<T> {
  return new Promise(() => undefined);
}

export function createLife(world: World): Life {
  const death = Promise.withResolvers<void>();
  const atDeath = new Set<() => void>();
  const clock = mortalClock(world);
  let isDead = false;

  function die(): void {
    isDead = true;
    clock.stop();
    for (const run of atDeath) run();
    atDeath.clear();
    death.resolve();
  }

  function pass(label: string): boolean {
    if (isDead) return false;
    if (world.pass(label)) die();
    return !isDead;
  }

  async function call<T>(label: string, run: () => Promise<T>, isReal = false): Promise<T> {
    if (!pass(`before ${label}`)) return silence();
    if (isReal) world.realCalls += 1;
    try {
      const answer = await run();
      return pass(`after ${label}`) ? answer : await silence();
    } catch (error) {
      if (pass(`after ${label}`)) throw error;
      return await silence();
    } finally {
      if (isReal) world.realCalls -= 1;
    }
  }

  return {
    clock,
    get isDead() {
      return isDead;
    },
    died: death.promise,
    call,
    pass,
    kill() {
      if (!isDead) die();
    },
    atDeath(run) {
      atDeath.add(run);
      return () => void atDeath.delete(run);
    },
    hurry: clock.hurry,
    rest: clock.stop,
  };
}

function mortalClock({ clock, stir }: World): Clock & { stop(): void; hurry(): void } {
  const timers = new Set<Timer>();
  let state: "running" | "stopped" | "hurrying" = "running";

  function after(delayMs: number, run: () => void): Timer {
    if (state === "stopped") return { cancel: () => undefined };
    if (state === "hurrying") return hurried(run);
    return ticking(clock, delayMs, run);
  }
  function ticking(on: TestClock, delayMs: number, run: () => void): Timer {
    const inner = on.after(delayMs, () => {
      timers.delete(timer);
      stir();
      run();
    });
    const timer: Timer = {
      cancel() {
        timers.delete(timer);
        inner.cancel();
      },
    };
    timers.add(timer);
    return timer;
  }
  function hurried(run: () => void): Timer {
    const immediate = setImmediate(run);
    return { cancel: () => clearImmediate(immediate) };
  }

  return {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    after,
    stop() {
      state = "stopped";
      for (const timer of [...timers]) timer.cancel();
    },
    hurry() {
      state = "hurrying";
    },
  };
}
