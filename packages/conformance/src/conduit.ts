import type { Socket } from "node:net";

export type Direction = "toServer" | "toClient";

/** The faults of a proxy, shared by all its conduits. */
export interface WireState {
  readonly holes: Set<Direction>;
  latencyMs: number;
  sliceBytes: number;
  /** So many bytes more, of this direction or both; `done` when the connection in which they ended is to be reset. */
  cut: { left: number; readonly direction: Direction | undefined; readonly done: () => void } | undefined;
}

/** One direction of a connection. */
export interface Conduit {
  readonly passed: number;
  readonly swallowed: number;
  /** Bytes, or its end, were lost in a hole. */
  torn(): boolean;
  /** `from` has said all that it had to say: `to` is told when it has got it. */
  ended(): boolean;
  isHole(): boolean;
  /** Looks again at what waits. */
  flush(): void;
  stop(): void;
}

interface Waiting {
  readonly bytes: Buffer;
  /** `performance.now()`. */
  readonly dueAt: number;
}

/** Above it nothing is read any more. */
const maxWaitingBytes = 256 * 1_024;

/**
 * Passes on what `from` says to `to`. Without a fault that is one write a chunk, and no queue. `onCut` when the bytes that a
 * cut leaves have been written.
 */
export function createConduit(from: Socket, to: Socket, direction: Direction, state: WireState, onCut: () => void): Conduit {
  const waiting: Waiting[] = [];
  let waitingBytes = 0;
  let passed = 0;
  let swallowed = 0;
  let torn = false;
  let ended = false;
  let stopped = false;
  let pumping = false;
  let wake: (() => void) | undefined;

  const isHole = (): boolean => torn || state.holes.has(direction);
  const isPlain = (): boolean =>
    waiting.length === 0 && !pumping && state.latencyMs === 0 && state.sliceBytes === 0 && !isCutting() && !isHole();
  const isCutting = (): boolean => state.cut !== undefined && (state.cut.direction ?? direction) === direction;

  const swallow = (bytes: number): void => {
    swallowed += bytes;
    torn = true;
  };

  from.on("data", (bytes: Buffer) => {
    if (stopped) return;
    if (isPlain()) {
      passed += bytes.byteLength;
      if (to.write(bytes)) return;
      from.pause();
      to.once("drain", () => from.resume());
      return;
    }
    waiting.push({ bytes, dueAt: performance.now() + state.latencyMs });
    waitingBytes += bytes.byteLength;
    if (waitingBytes > maxWaitingBytes) from.pause();
    void pump();
  });
  from.on("end", () => {
    ended = true;
    if (isHole()) torn = true;
    void pump();
  });
  from.once("close", () => {
    if (isHole()) torn = true;
  });

  async function pump(): Promise<void> {
    if (pumping) return;
    pumping = true;
    for (let next = waiting[0]; next !== undefined && !stopped; next = waiting[0]) {
      const earlyMs = next.dueAt - performance.now();
      if (earlyMs > 0 && !isHole()) await rest(earlyMs);
      else {
        waiting.shift();
        await pass(next.bytes);
        waitingBytes -= next.bytes.byteLength;
        if (waitingBytes <= maxWaitingBytes && from.isPaused()) from.resume();
      }
    }
    pumping = false;
    if (ended && !stopped && !torn && waiting.length === 0 && !to.writableEnded) to.end();
  }

  async function pass(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.byteLength && !stopped;) {
      if (isHole()) return swallow(bytes.byteLength - at);
      const cut = isCutting() ? state.cut : undefined;
      const piece = Math.min(
        bytes.byteLength - at,
        state.sliceBytes > 0 ? state.sliceBytes : Number.POSITIVE_INFINITY,
        cut?.left ?? Number.POSITIVE_INFINITY,
      );
      // Taken before the write is awaited: another connection may be at the same cut.
      if (cut !== undefined) cut.left -= piece;
      const isLast = cut?.left === 0;
      if (isLast) state.cut = undefined;
      if (piece > 0) {
        passed += piece;
        await written(bytes.subarray(at, at + piece));
      }
      at += piece;
      if (!isLast || stopped) continue;
      cut?.done();
      onCut();
      return;
    }
  }

  /** Resolves when the system has it, or never will. One turn of the loop later, so that the next write is a packet of its own. */
  async function written(bytes: Buffer): Promise<void> {
    if (to.destroyed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    wake = resolve;
    to.write(bytes, () => setImmediate(resolve));
    await promise;
  }

  async function rest(delayMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    wake = resolve;
    const timer = setTimeout(resolve, delayMs);
    await promise;
    clearTimeout(timer);
  }

  return {
    get passed() {
      return passed;
    },
    get swallowed() {
      return swallowed;
    },
    torn: () => torn,
    ended: () => ended,
    isHole,
    flush() {
      wake?.();
      void pump();
    },
    stop() {
      stopped = true;
      waiting.length = 0;
      wake?.();
    },
  };
}
