/**
 * A lock for the connections that one process has to one file: the worker's and the user thread's. It is handed over in turn, so
 * neither starves, and SQLite never sees them contend. Cells: [0] who holds it (0: nobody, else place + 1), [1] a counter that
 * waiters sleep on, [2…] who waits.
 */
export interface Turns {
  /** Blocks the thread. False: the time is over. */
  take(timeoutMs: number): boolean;
  /** Waits without blocking. False: the time is over. */
  takeAsync(timeoutMs: number): Promise<boolean>;
  /** Harmless if it is not held. */
  give(): void;
}

const holder = 0;
const bell = 1;
const firstPlace = 2;
export const places = 30;

export function makeTurns(): SharedArrayBuffer {
  return new SharedArrayBuffer((firstPlace + places) * 4);
}

export function joinTurns(shared: SharedArrayBuffer, place: number): Turns {
  const cells = new Int32Array(shared);
  const me = place + 1;

  function tryTake(): boolean {
    return Atomics.compareExchange(cells, holder, 0, me) === 0 || Atomics.load(cells, holder) === me;
  }

  /** The time is over; the lock may have come just now all the same. */
  function giveUp(): boolean {
    Atomics.store(cells, firstPlace + place, 0);
    return Atomics.load(cells, holder) === me;
  }

  function begin(): boolean {
    Atomics.store(cells, firstPlace + place, 1);
    return tryTake();
  }

  function taken(): true {
    Atomics.store(cells, firstPlace + place, 0);
    return true;
  }

  return {
    take(timeoutMs) {
      if (begin()) return taken();
      const until = performance.now() + timeoutMs;
      for (;;) {
        const seen = Atomics.load(cells, bell);
        if (tryTake()) return taken();
        const left = until - performance.now();
        if (left <= 0) return giveUp();
        Atomics.wait(cells, bell, seen, left);
      }
    },
    async takeAsync(timeoutMs) {
      if (begin()) return taken();
      const until = performance.now() + timeoutMs;
      for (;;) {
        const seen = Atomics.load(cells, bell);
        if (tryTake()) return taken();
        const left = until - performance.now();
        if (left <= 0) return giveUp();
        await Atomics.waitAsync(cells, bell, seen, left).value;
      }
    },
    give: () => handOver(cells, me),
  };
}

function handOver(cells: Int32Array, me: number): void {
  if (Atomics.load(cells, holder) !== me) return;
  let next = 0;
  for (let i = 0; i < places; i++) {
    const place = (me + i) % places;
    if (place + 1 !== me && Atomics.load(cells, firstPlace + place) === 1) {
      next = place + 1;
      break;
    }
  }
  Atomics.store(cells, holder, next);
  Atomics.add(cells, bell, 1);
  Atomics.notify(cells, bell);
}

/** A worker that ended while it held the lock, or waited for it, does so no more. */
export function leaveTurns(shared: SharedArrayBuffer, place: number): void {
  const cells = new Int32Array(shared);
  Atomics.store(cells, firstPlace + place, 0);
  handOver(cells, place + 1);
}
